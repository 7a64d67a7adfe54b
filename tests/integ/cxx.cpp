/* SPDX-License-Identifier: MIT */
/*
 * The 20 C++ operators new and delete as a table of cases: that quarry serves them, what they answer at the
 * limits, and the new_handler protocol of [new.delete.single]: the handler is called until memory appears, it
 * throws, or there is none. With --standard-only it runs on libstdc++'s own operators, which must pass too.
 */
#include "cases.h"
#include "check.h"

#include <dlfcn.h>
#include <malloc.h>
#include <sys/resource.h>

#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <map>
#include <memory>
#include <new>
#include <string>
#include <vector>

namespace {

constexpr std::size_t kImpossible = std::size_t(PTRDIFF_MAX) - 8192;
constexpr std::align_val_t kAlignment{256};

enum Form { kPlain, kArray, kAligned, kAlignedArray, kForms };

void *new_throwing(Form form, std::size_t size) {
    size = opaque_size(size);
    switch (form) {
    case kPlain: return ::operator new(size);
    case kArray: return ::operator new[](size);
    case kAligned: return ::operator new(size, kAlignment);
    default: return ::operator new[](size, kAlignment);
    }
}

void *new_nothrow(Form form, std::size_t size) {
    size = opaque_size(size);
    switch (form) {
    case kPlain: return ::operator new(size, std::nothrow);
    case kArray: return ::operator new[](size, std::nothrow);
    case kAligned: return ::operator new(size, kAlignment, std::nothrow);
    default: return ::operator new[](size, kAlignment, std::nothrow);
    }
}

void delete_form(Form form, void *p) {
    switch (form) {
    case kPlain: return ::operator delete(p);
    case kArray: return ::operator delete[](p);
    case kAligned: return ::operator delete(p, kAlignment);
    default: return ::operator delete[](p, kAlignment);
    }
}

/* The mangled names of all 20, in the order of the table below. */
const char *const operator_names[] = {
    "_Znwm",
    "_Znam",
    "_ZnwmRKSt9nothrow_t",
    "_ZnamRKSt9nothrow_t",
    "_ZnwmSt11align_val_t",
    "_ZnamSt11align_val_t",
    "_ZnwmSt11align_val_tRKSt9nothrow_t",
    "_ZnamSt11align_val_tRKSt9nothrow_t",
    "_ZdlPv",
    "_ZdaPv",
    "_ZdlPvm",
    "_ZdaPvm",
    "_ZdlPvRKSt9nothrow_t",
    "_ZdaPvRKSt9nothrow_t",
    "_ZdlPvSt11align_val_t",
    "_ZdaPvSt11align_val_t",
    "_ZdlPvmSt11align_val_t",
    "_ZdaPvmSt11align_val_t",
    "_ZdlPvSt11align_val_tRKSt9nothrow_t",
    "_ZdaPvSt11align_val_tRKSt9nothrow_t",
};

void operator_is_ours(std::size_t row) {
    void *symbol = dlsym(RTLD_DEFAULT, operator_names[row]);
    const char *preload = std::getenv("LD_PRELOAD");
    Dl_info where;

    CHECK(preload != nullptr && symbol != nullptr && dladdr(symbol, &where) != 0);
    CHECK_MSG(std::strcmp(where.dli_fname, preload) == 0, "%s comes from %s", operator_names[row], where.dli_fname);
}

template <typename Call> bool throws_bad_alloc(Call call) {
    try {
        call();
    } catch (const std::bad_alloc &error) {
        CHECK(error.what() != nullptr && *error.what() != '\0');
        return true;
    }
    return false;
}

void serves(std::size_t form_nr) {
    const Form form = Form(form_nr);

    for (std::size_t size : {0, 1, 24, 1000, 5000, 100000, 3 << 20}) {
        void *p = new_throwing(form, size), *q = new_nothrow(form, size);
        CHECK(p != nullptr && q != nullptr && p != q);
        CHECK(malloc_usable_size(p) >= size && malloc_usable_size(q) >= size);
        CHECK(form < kAligned || (std::uintptr_t(p) | std::uintptr_t(q)) % std::size_t(kAlignment) == 0);
        std::memset(p, 1, size);
        std::memset(q, 2, size);
        delete_form(form, p);
        delete_form(form, q);
    }
}

void alignments(std::size_t) {
    for (std::size_t alignment = 1; alignment <= 4 << 20; alignment *= 2) {
        for (std::size_t size : {1, 100, 5000, 100000}) {
            void *p = ::operator new (size, std::align_val_t{alignment});
            CHECK(std::uintptr_t(p) % alignment == 0);
            std::memset(p, 1, size);
            ::operator delete (p, size, std::align_val_t{alignment});
        }
    }
}

void sized_deletes(std::size_t) {
    for (std::size_t size : {1, 24, 1000, 5000, 100000, 3 << 20}) {
        for (int i = 0; i < 100; i++) {
            ::operator delete(::operator new(size), size);
            ::operator delete[](::operator new[](size), size);
            ::operator delete(::operator new(size, kAlignment), size, kAlignment);
            ::operator delete[](::operator new[](size, kAlignment), size, kAlignment);
        }
    }
}

void nothrow_deletes(std::size_t) {
    ::operator delete(::operator new(100), std::nothrow);
    ::operator delete[](::operator new[](100), std::nothrow);
    ::operator delete(::operator new(100, kAlignment), kAlignment, std::nothrow);
    ::operator delete[](::operator new[](100, kAlignment), kAlignment, std::nothrow);
}

void *null() { return opaque(nullptr); }

void null_deletes(std::size_t) {
    for (int form = 0; form < kForms; form++)
        delete_form(Form(form), null());
    ::operator delete(null(), std::size_t(8));
    ::operator delete[](null(), std::size_t(8));
    ::operator delete(null(), std::size_t(8), kAlignment);
    ::operator delete[](null(), std::size_t(8), kAlignment);
    ::operator delete(null(), std::nothrow);
    ::operator delete[](null(), std::nothrow);
    ::operator delete(null(), kAlignment, std::nothrow);
    ::operator delete[](null(), kAlignment, std::nothrow);
}

void impossible_throws(std::size_t form) {
    for (std::size_t size : {kImpossible, std::size_t(PTRDIFF_MAX), std::size_t(PTRDIFF_MAX) + 1})
        CHECK(throws_bad_alloc([&] { new_throwing(Form(form), size); }));
}

void impossible_nothrow_is_null(std::size_t form) {
    for (std::size_t size : {kImpossible, std::size_t(PTRDIFF_MAX), std::size_t(PTRDIFF_MAX) + 1})
        CHECK(new_nothrow(Form(form), size) == nullptr);
}

/* Rounding up to the alignment must not wrap; in libstdc++ 12 it does. */
void wrapping_refused(std::size_t form) {
    for (std::size_t size : {SIZE_MAX, SIZE_MAX - 100, SIZE_MAX - 255}) {
        CHECK(throws_bad_alloc([&] { new_throwing(Form(form), size); }));
        CHECK(new_nothrow(Form(form), size) == nullptr);
    }
}

int handler_calls;

/* Gives up at the third call by removing itself. */
void handler_until_third() {
    if (++handler_calls == 3)
        std::set_new_handler(nullptr);
}

void handler_called_until_gone(std::size_t form) {
    handler_calls = 0;
    std::set_new_handler(handler_until_third);
    CHECK(throws_bad_alloc([&] { new_throwing(Form(form), kImpossible); }));
    CHECK_MSG(handler_calls == 3, "called %d times, expected 3", handler_calls);
}

void handler_called_until_gone_nothrow(std::size_t form) {
    handler_calls = 0;
    std::set_new_handler(handler_until_third);
    CHECK(new_nothrow(Form(form), kImpossible) == nullptr);
    CHECK_MSG(handler_calls == 3, "called %d times, expected 3", handler_calls);
}

struct Own {
    int value;
};

void handler_throws_own() { throw Own{7}; }

void handler_exception_passes(std::size_t form) {
    int caught = 0;

    std::set_new_handler(handler_throws_own);
    try {
        new_throwing(Form(form), kImpossible);
    } catch (const Own &own) {
        caught = own.value;
    }
    CHECK(caught == 7);
    /* The allocator is whole after an exception passed through it. */
    delete_form(Form(form), new_throwing(Form(form), 1000));
}

void handler_throws_bad_alloc() {
    handler_calls++;
    throw std::bad_alloc();
}

void handler_bad_alloc_throwing(std::size_t form) {
    handler_calls = 0;
    std::set_new_handler(handler_throws_bad_alloc);
    CHECK(throws_bad_alloc([&] { new_throwing(Form(form), kImpossible); }));
    CHECK(handler_calls == 1);
}

void handler_bad_alloc_nothrow(std::size_t form) {
    handler_calls = 0;
    std::set_new_handler(handler_throws_bad_alloc);
    CHECK(new_nothrow(Form(form), kImpossible) == nullptr);
    CHECK(handler_calls == 1);
    delete_form(Form(form), new_nothrow(Form(form), 1000));
}

/* More than an allocator may have reserved and can give up by itself before it asks the handler. */
constexpr std::size_t kReserve = std::size_t(4096) << 20;
constexpr std::size_t kWanted = std::size_t(3072) << 20;
void *reserve;

void handler_releases() {
    handler_calls++;
    CHECK_MSG(reserve != nullptr, "called again after memory was released");
    std::free(reserve);
    reserve = nullptr;
}

std::size_t address_space_bytes() {
    std::ifstream statm("/proc/self/statm");
    std::size_t pages = 0;

    CHECK(bool(statm >> pages));
    return pages * 4096;
}

/* The limit leaves room for some books, not for what is wanted beside the reserve. */
void handler_makes_room(std::size_t form) {
    reserve = opaque(std::malloc(kReserve));
    CHECK(reserve != nullptr);
    const std::size_t room = address_space_bytes() + (std::size_t(64) << 20);
    const rlimit limit = {room, room};
    CHECK(setrlimit(RLIMIT_AS, &limit) == 0);
    handler_calls = 0;
    std::set_new_handler(handler_releases);
    void *p = form < kForms ? new_throwing(Form(form), kWanted) : new_nothrow(Form(form - kForms), kWanted);
    CHECK(p != nullptr && handler_calls == 1);
    delete_form(Form(form % kForms), p);
}

void library_containers(std::size_t) {
    std::map<std::string, std::vector<std::unique_ptr<std::string>>> all;

    for (int i = 0; i < 2000; i++)
        all[std::to_string(i % 100) + std::string(40, 'x')].push_back(std::make_unique<std::string>(i % 300, 'y'));
    for (int i = 0; i < 100; i++)
        CHECK(all[std::to_string(i) + std::string(40, 'x')].size() == 20);
}

struct alignas(128) Wide {
    char bytes[384];
};

struct Throwing {
    char bytes[200];
    Throwing() { throw Own{3}; }
};

/* A constructor that throws makes the compiler call the matching delete. */
void expressions(std::size_t) {
    int caught = 0;

    for (int i = 0; i < 100; i++) {
        std::unique_ptr<Wide[]> wide(new Wide[7]);
        CHECK(std::uintptr_t(wide.get()) % alignof(Wide) == 0);
        try {
            delete new Throwing;
        } catch (const Own &) {
            caught++;
        }
    }
    CHECK(caught == 100);
    CHECK(throws_bad_alloc([] { delete[] new int[opaque_size(SIZE_MAX / 8)]; }));
}

/* Every case for the four forms; the name is completed at compile time, so that the table stays constant. */
#define FORMS(text, function, scope)                                                                                   \
    {text ": scalar", function, kPlain, scope}, {text ": array", function, kArray, scope},                             \
        {text ": aligned", function, kAligned, scope}, {                                                               \
        text ": aligned array", function, kAlignedArray, scope                                                         \
    }
#define OURS(row, name)                                                                                                \
    { name " is quarry's", operator_is_ours, row, CASE_QUARRY }

const test_case cxx_table[] = {
    OURS(0, "new"),
    OURS(1, "new[]"),
    OURS(2, "new nothrow"),
    OURS(3, "new[] nothrow"),
    OURS(4, "new aligned"),
    OURS(5, "new[] aligned"),
    OURS(6, "new aligned nothrow"),
    OURS(7, "new[] aligned nothrow"),
    OURS(8, "delete"),
    OURS(9, "delete[]"),
    OURS(10, "delete sized"),
    OURS(11, "delete[] sized"),
    OURS(12, "delete nothrow"),
    OURS(13, "delete[] nothrow"),
    OURS(14, "delete aligned"),
    OURS(15, "delete[] aligned"),
    OURS(16, "delete sized aligned"),
    OURS(17, "delete[] sized aligned"),
    OURS(18, "delete aligned nothrow"),
    OURS(19, "delete[] aligned nothrow"),
    FORMS("serves every tier", serves, CASE_STANDARD),
    {"every alignment up to 4 MiB", alignments, 0, CASE_STANDARD},
    {"sized deletes", sized_deletes, 0, CASE_STANDARD},
    {"nothrow deletes", nothrow_deletes, 0, CASE_STANDARD},
    {"delete of a null pointer, all 12", null_deletes, 0, CASE_STANDARD},
    FORMS("impossible size throws bad_alloc", impossible_throws, CASE_STANDARD),
    FORMS("impossible size, nothrow, is null", impossible_nothrow_is_null, CASE_STANDARD),
    FORMS("size that wraps when rounded is refused", wrapping_refused, CASE_QUARRY),
    FORMS("new_handler is called until it is gone", handler_called_until_gone, CASE_STANDARD),
    FORMS("new_handler is called until it is gone, nothrow", handler_called_until_gone_nothrow, CASE_STANDARD),
    FORMS("what the new_handler throws passes through", handler_exception_passes, CASE_STANDARD),
    FORMS("bad_alloc of the new_handler passes through", handler_bad_alloc_throwing, CASE_STANDARD),
    FORMS("bad_alloc of the new_handler, nothrow, is null", handler_bad_alloc_nothrow, CASE_STANDARD),
    FORMS("new_handler makes room", handler_makes_room, CASE_STANDARD),
    {"new_handler makes room, nothrow: scalar", handler_makes_room, kForms + kPlain, CASE_STANDARD},
    {"new_handler makes room, nothrow: aligned array", handler_makes_room, kForms + kAlignedArray, CASE_STANDARD},
    {"containers of the standard library", library_containers, 0, CASE_STANDARD},
    {"new expressions: over-aligned, throwing constructor, length overflow", expressions, 0, CASE_STANDARD},
};

} // namespace

int main(int argc, char **argv) { return cases_main(argc, argv, cxx_table, sizeof cxx_table / sizeof cxx_table[0]); }
