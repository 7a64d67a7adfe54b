/* SPDX-License-Identifier: MIT */
/* The same in C++: what it allocates is inside the C++ library's own functions. */
#include <cstdio>
#include <string>

int main(int argc, char **argv) {
    std::string text(argv[argc - 1]);
    text.append(1000, 'x');
    return text.size() < 1000 || puts("little") < 0;
}
