# SPDX-License-Identifier: MIT
"""Prints the C++ source that bench/real/gcc and bench/real/clang compile: many classes over many container types."""

HEAD = """#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <string>
#include <unordered_map>
#include <variant>
#include <vector>

template <int N> struct tag {
    int value = N;
    std::string name = "tag" + std::to_string(N);
    bool operator<(const tag &other) const { return value < other.value; }
};
template <int N> int sum(const std::vector<tag<N>> &all) { return all.empty() ? N : all.back().value + sum<N - 1>({}); }
template <> int sum<0>(const std::vector<tag<0>> &) { return 0; }
"""

UNIT = """
namespace unit_{n} {{
struct node {{
    std::string name;
    std::vector<std::unique_ptr<node>> parts;
    std::variant<int, std::string, std::vector<tag<{n}>>> value;
    std::function<int(const node &)> weigh = [](const node &self) {{ return int(self.name.size()) * {n}; }};
}};

int walk(const node &top, std::map<std::string, tag<{n}>> &seen) {{
    int total = top.weigh(top);
    seen[top.name].value += total;
    total += std::visit([](const auto &value) -> int {{
        using type = std::decay_t<decltype(value)>;
        if constexpr (std::is_same_v<type, int>) return value + {n};
        else if constexpr (std::is_same_v<type, std::string>) return int(value.size());
        else return sum<{n}>(value);
    }}, top.value);
    for (const auto &part : top.parts)
        total = total * 31 + walk(*part, seen);
    return total;
}}

int run(std::unordered_map<std::string, std::vector<int>> &table) {{
    node top;
    std::map<std::string, tag<{n}>> seen;
    for (auto &[name, list] : table) {{
        auto part = std::make_unique<node>();
        part->name = name;
        std::sort(list.begin(), list.end(), [](int a, int b) {{ return a % {n} < b % {n}; }});
        part->value = int(list.size()) * {n};
        top.parts.push_back(std::move(part));
    }}
    return walk(top, seen);
}}
}}
"""

UNITS_NR = 7


def main():
    print(HEAD)
    for n in range(3, 3 + UNITS_NR):
        print(UNIT.format(n=n))
    calls = " + ".join(f"unit_{n}::run(table)" for n in range(3, 3 + UNITS_NR))
    print(f"int run_all(std::unordered_map<std::string, std::vector<int>> &table) {{ return {calls}; }}")


if __name__ == "__main__":
    main()
