/* SPDX-License-Identifier: MIT */
/*
 * A program that replaces operator new(size_t) and operator delete(void *) alone, as the standard lets it: the other
 * forms, which it leaves to the library, must then go through the replaced ones ([new.delete.single] and
 * [new.delete.array] say what the default versions call). The replacements put a header before each object, so memory
 * that goes in by one allocator and out by the other is noticed. The aligned forms are not affected.
 */
#include "cases.h"
#include "check.h"

#include <malloc.h>

#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <new>
#include <string>
#include <vector>

namespace {

constexpr std::uint64_t kMark = 0x5175617272797472;
constexpr std::size_t kHeader = 32;
int news, deletes;

} // namespace

void *operator new(std::size_t size) {
    char *block = static_cast<char *>(std::malloc(size + kHeader));

    if (block == nullptr)
        throw std::bad_alloc();
    std::memcpy(block, &kMark, sizeof kMark);
    news++;
    return block + kHeader;
}

void operator delete(void *p) noexcept {
    std::uint64_t mark;

    if (p == nullptr)
        return;
    std::memcpy(&mark, static_cast<char *>(p) - kHeader, sizeof mark);
    CHECK_MSG(mark == kMark, "replaced delete received %p, which replaced new did not make", p);
    deletes++;
    std::free(static_cast<char *>(p) - kHeader);
}

/* gcc warns when new is replaced without this one; it is what the default version does. */
void operator delete(void *p, std::size_t) noexcept { ::operator delete(p); }

namespace {

void expect_pair(int news_before, int deletes_before) {
    CHECK_MSG(news == news_before + 1, "replaced new was called %d times", news - news_before);
    CHECK_MSG(deletes == deletes_before + 1, "replaced delete was called %d times", deletes - deletes_before);
}

void scalar(std::size_t) {
    const int n = news, d = deletes;

    ::operator delete(::operator new(opaque_size(100)));
    expect_pair(n, d);
}

void scalar_nothrow(std::size_t) {
    const int n = news, d = deletes;

    ::operator delete(::operator new(opaque_size(100), std::nothrow), std::nothrow);
    expect_pair(n, d);
}

void array(std::size_t) {
    const int n = news, d = deletes;

    ::operator delete[](::operator new[](opaque_size(100)));
    expect_pair(n, d);
}

void array_nothrow(std::size_t) {
    const int n = news, d = deletes;

    ::operator delete[](::operator new[](opaque_size(100), std::nothrow), std::nothrow);
    expect_pair(n, d);
}

void array_sized(std::size_t) {
    const int n = news, d = deletes;

    ::operator delete[](::operator new[](opaque_size(100)), std::size_t(100));
    expect_pair(n, d);
}

void nothrow_null_when_it_throws(std::size_t) {
    CHECK(::operator new(opaque_size(SIZE_MAX / 2), std::nothrow) == nullptr);
    CHECK(::operator new[](opaque_size(SIZE_MAX / 2), std::nothrow) == nullptr);
}

/* libstdc++'s own code, compiled long ago, must reach the replacement as well. */
void library_code(std::size_t) {
    const int n = news;

    {
        std::string text(1000, 'x');
        std::vector<std::string> all(100, text);
        text += all[50];
        CHECK(text.size() == 2000);
    }
    CHECK(news >= n + 100 && news == deletes);
}

void aligned(std::size_t) {
    const int n = news, d = deletes;

    for (std::size_t size : {100, 5000, 100000}) {
        void *p = ::operator new (opaque_size(size), std::align_val_t{64});
        CHECK(std::uintptr_t(p) % 64 == 0 && malloc_usable_size(p) >= size);
        ::operator delete (p, std::align_val_t{64});
    }
    CHECK(news == n && deletes == d);
}

const test_case replaced_table[] = {
    {"new, delete", scalar, 0, CASE_STANDARD},
    {"nothrow new and delete call the replaced", scalar_nothrow, 0, CASE_STANDARD},
    {"new[] and delete[] call the replaced", array, 0, CASE_STANDARD},
    {"nothrow new[] and delete[] call the replaced", array_nothrow, 0, CASE_STANDARD},
    {"sized delete[] calls the replaced", array_sized, 0, CASE_STANDARD},
    {"nothrow new is null when the replaced one throws", nothrow_null_when_it_throws, 0, CASE_STANDARD},
    {"library code calls the replaced", library_code, 0, CASE_STANDARD},
    {"aligned forms stay the library's", aligned, 0, CASE_STANDARD},
};

} // namespace

int main(int argc, char **argv) {
    return cases_main(argc, argv, replaced_table, sizeof replaced_table / sizeof replaced_table[0]);
}
