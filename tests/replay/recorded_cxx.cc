// SPDX-License-Identifier: MIT
/*
 * A program in C++ to be recorded, and a plugin for recorded.c (main is not called then): every form of operator new
 * and of operator delete once, on sizes that the test knows. With -DOWN_OPERATORS the plain ones are the program's,
 * which put a header before each object, as a program may. "fails" asks for too much memory.
 */
#include <cstddef>
#include <cstdlib>
#include <cstring>
#include <limits>
#include <new>

#ifdef OWN_OPERATORS
static constexpr std::size_t header_bytes = 16;

void *operator new(std::size_t size) {
    char *block = static_cast<char *>(std::malloc(size + header_bytes));
    if (block == nullptr)
        throw std::bad_alloc();
    return block + header_bytes;
}

void operator delete(void *object) noexcept {
    if (object != nullptr)
        std::free(static_cast<char *>(object) - header_bytes);
}

void operator delete(void *object, std::size_t) noexcept { operator delete(object); }
#endif

static constexpr std::size_t align_bytes = 64;
static constexpr std::align_val_t align{align_bytes};

static std::size_t size_of(std::size_t at) { return (1200 + at) * align_bytes; }

extern "C" int forms() {
    void *objects[12] = {
        operator new(size_of(0)),
        operator new(size_of(1)),
        operator new(size_of(2), std::nothrow),
        operator new[](size_of(3)),
        operator new[](size_of(4)),
        operator new[](size_of(5), std::nothrow),
        operator new(size_of(6), align),
        operator new(size_of(7), align),
        operator new(size_of(8), align, std::nothrow),
        operator new[](size_of(9), align),
        operator new[](size_of(10), align),
        operator new[](size_of(11), align, std::nothrow),
    };
    for (std::size_t at = 0; at < 12; at++) {
        if (objects[at] == nullptr)
            return 1;
        std::memset(objects[at], 1, size_of(at));
    }
    operator delete(objects[0]);
    operator delete(objects[1], size_of(1));
    operator delete(objects[2], std::nothrow);
    operator delete[](objects[3]);
    operator delete[](objects[4], size_of(4));
    operator delete[](objects[5], std::nothrow);
    operator delete(objects[6], align);
    operator delete(objects[7], size_of(7), align);
    operator delete(objects[8], align, std::nothrow);
    operator delete[](objects[9], align);
    operator delete[](objects[10], size_of(10), align);
    operator delete[](objects[11], align, std::nothrow);
    operator delete(nullptr);
    operator delete[](nullptr, align);
    return 0;
}

static int handled;

/* What it allocates and frees belongs to the trace: the first form's size. */
static void handler() {
    std::free(std::malloc(size_of(0)));
    if (++handled % 2 == 0)
        std::set_new_handler(nullptr);
}

template <typename Call> static bool throws(Call call) {
    std::set_new_handler(handler);
    try {
        call();
        return false;
    } catch (const std::bad_alloc &) {
        return true;
    }
}

static int fails() {
    volatile std::size_t huge = static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max()) - (1 << 20);

    if (!throws([&] { operator delete(operator new(huge)); }) ||
        !throws([&] { operator delete[](operator new[](huge)); }) ||
        !throws([&] { operator delete(operator new(huge, align), align); }))
        return 2;
    std::set_new_handler(handler);
    if (operator new(huge, std::nothrow) != nullptr)
        return 3;
    return handled == 8 ? 0 : 4;
}

int main(int argc, char **argv) { return argc > 1 && std::strcmp(argv[1], "fails") == 0 ? fails() : forms(); }
