/* SPDX-License-Identifier: MIT */
/* As link_main.c, in C++: new and delete are quarry's, and bad_alloc is thrown through it. */
#include <quarry/quarry.h>

#include <iostream>
#include <limits>
#include <new>
#include <string>
#include <vector>

int main() {
    std::vector<std::string> words;
    for (int i = 0; i < 20000; i++)
        words.emplace_back(static_cast<std::size_t>(i % 300), 'x');
    if (!quarry_owns(words.data()) || !quarry_owns(words[299].data()))
        return 1;
    volatile std::size_t huge = static_cast<std::size_t>(std::numeric_limits<std::ptrdiff_t>::max()) - 4096;
    try {
        operator delete(operator new(huge));
        return 2;
    } catch (const std::bad_alloc &) {
    }
    if (operator new(huge, std::nothrow) != nullptr)
        return 3;
    std::cout << "quarry " << quarry_version() << std::endl;
    return 0;
}
