#!/usr/bin/python3
# SPDX-License-Identifier: MIT
"""The data the workloads of tests/integ/programs share, the same on every run: `corpus.py DIR` fills DIR.

    words.txt      4,000 distinct words                text.txt     about 3 MB of them in lines
    table.csv      40,000 rows of five fields          tree/        a few hundred files, fixed modes and times
    c/             a C project of 40 modules           cxx/         three C++ modules that lean on the library
    history.fi     a git history of 400 commits for git fast-import
"""

import os
import pathlib
import random
import sys

EPOCH = 1_600_000_000
MODULES_NR = 40
FUNCTIONS_NR = 24


def make_words(rng, words_nr):
    onsets = "b br c ch d dr f fl g gr h j k l m n p pl qu r s st t tr v w z".split()
    vowels = "a e i o u ai ea io ou".split()
    words = set()
    while len(words) < words_nr:
        parts = 1 + int(rng.random() * 4)
        body = "".join(rng.choice(onsets) + rng.choice(vowels) for _ in range(parts))
        words.add(body + rng.choice(["", "n", "r", "x"]))
    return sorted(words)


def make_text(rng, words, lines_nr):
    lines = []
    for number in range(lines_nr):
        # Squared: a few words are frequent, most are rare, as in a language.
        picked = [words[int(rng.random() ** 2 * len(words))] for _ in range(4 + int(rng.random() * 10))]
        lines.append(" ".join(picked) + (f" {number * 7919 % 100_003}." if number % 5 == 0 else "."))
    return "\n".join(lines) + "\n"


def make_table(rng, words, rows_nr):
    rows = ["id,name,group,amount,day"]
    for number in range(rows_nr):
        amount = int(rng.random() * 1_000_000) / 100
        day = f"2020-{1 + number % 12:02d}-{1 + int(rng.random() * 28):02d}"
        rows.append(f"{number},{rng.choice(words)},{rng.choice(words[:97])},{amount:.2f},{day}")
    return "\n".join(rows) + "\n"


def make_tree(rng, root, text):
    for folder in range(24):
        path = root / f"d{folder % 6}" / f"e{folder}"
        path.mkdir(parents=True)
        for number in range(16):
            start = int(rng.random() * (len(text) // 2))
            size = int(rng.random() ** 3 * 60_000)
            file = path / f"f{number}.{['txt', 'log', 'dat', 'c'][number % 4]}"
            if number % 4 == 2:
                file.write_bytes(bytes(int(rng.random() * 256) for _ in range(size // 8)))
            else:
                file.write_text(text[start:start + size], encoding="ascii")
            file.chmod(0o755 if number % 7 == 0 else 0o644)
        (path / "link").symlink_to("f1.log")
        (path / "hollow").mkdir()
    for folder, folders, files in os.walk(root, topdown=False):
        for name in files + folders:
            stamp = EPOCH + sum(map(ord, name)) * 3600
            os.utime(os.path.join(folder, name), (stamp, stamp), follow_symlinks=False)
    os.utime(root, (EPOCH, EPOCH))


C_FUNCTION = """
static unsigned step_{m}_{f}(unsigned x, unsigned *table) {{
    unsigned i, y = x ^ {k}u;
    for (i = 0; i < {n}u; i++) {{
        y = y * 2654435761u + table[(y >> 7) & 63u];
        if ((y & {mask}u) == 0)
            y ^= step_tail(y, i);
        table[y & 63u] += y >> {s};
    }}
    return y;
}}
"""

C_HEAD = """#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "modules.h"

static unsigned step_tail(unsigned y, unsigned i) {{
    switch ((y >> 3) & 7u) {{
    case 0: return y + i;
    case 1: return y * 3u;
    case 2: return y ^ 0x5bd1e995u;
    case 3: return (y << 5) | (y >> 27);
    case 4: return y - {m}u * i;
    default: return ~y;
    }}
}}
"""


def make_c_module(module):
    functions = "".join(C_FUNCTION.format(m=module, f=f, k=module * 977 + f * 31, n=16 + f, mask=(1 << (2 + f % 5)) - 1,
                                          s=1 + f % 9) for f in range(FUNCTIONS_NR))
    calls = "\n".join(f"    x = step_{module}_{f}(x, table);" for f in range(FUNCTIONS_NR))
    return (C_HEAD.format(m=module) + functions + f"""
unsigned module_{module}(unsigned x) {{
    unsigned *table = calloc(64, sizeof *table);
    char name[32];
    if (table == NULL)
        abort();
    snprintf(name, sizeof name, "module %u", x);
    x += (unsigned)strlen(name);
{calls}
    free(table);
    return x;
}}
""")


def make_c_project(root):
    root.mkdir()
    names = range(MODULES_NR)
    (root / "modules.h").write_text("".join(f"unsigned module_{m}(unsigned x);\n" for m in names), encoding="ascii")
    for module in names:
        (root / f"module_{module}.c").write_text(make_c_module(module), encoding="ascii")
    calls = "\n".join(f"        x = module_{m}(x);" for m in names)
    (root / "main.c").write_text(f"""#include <stdio.h>
#include "modules.h"

int main(void) {{
    unsigned x = 1, round;
    for (round = 0; round < 50; round++) {{
{calls}
    }}
    printf("%u\\n", x);
    return 0;
}}
""", encoding="ascii")


CXX_WORDS = """#include <algorithm>
#include <map>
#include <memory>
#include <regex>
#include <sstream>
#include <string>
#include <unordered_map>
#include <vector>
#include "parts.h"

std::vector<std::string> split(const std::string &text) {
    static const std::regex word("[a-z]+");
    std::vector<std::string> found;
    for (std::sregex_iterator it(text.begin(), text.end(), word), end; it != end; ++it)
        found.push_back(it->str());
    return found;
}

std::map<std::string, int> tally(const std::vector<std::string> &words) {
    std::unordered_map<std::string, int> counts;
    for (const auto &w : words)
        counts[w]++;
    return {counts.begin(), counts.end()};
}
"""

CXX_SHAPES = """#include <functional>
#include <memory>
#include <numeric>
#include <stdexcept>
#include <variant>
#include <vector>
#include "parts.h"

namespace {
struct circle { double r; };
struct square { double a; };
struct sum { std::vector<shape> parts; };
}
struct node { std::variant<circle, square, sum> value; };

shape make_shape(int depth) {
    if (depth == 0)
        return std::make_shared<node>(node{circle{1.5}});
    if (depth % 3 == 0)
        return std::make_shared<node>(node{square{2.0 * depth}});
    sum s;
    for (int i = 0; i < 4; i++)
        s.parts.push_back(make_shape(depth - 1));
    return std::make_shared<node>(node{std::move(s)});
}

double area(const shape &s) {
    if (!s)
        throw std::invalid_argument("no shape");
    struct visitor {
        double operator()(const circle &c) const { return 3.0 * c.r * c.r; }
        double operator()(const square &q) const { return q.a * q.a; }
        double operator()(const sum &all) const {
            return std::accumulate(all.parts.begin(), all.parts.end(), 0.0,
                                   [](double a, const shape &p) { return a + area(p); });
        }
    };
    return std::visit(visitor{}, s->value);
}
"""

CXX_MAIN = """#include <fstream>
#include <future>
#include <iostream>
#include <sstream>
#include "parts.h"

int main(int argc, char **argv) {
    if (argc != 2)
        return 2;
    std::ifstream file(argv[1]);
    std::string line, text;
    for (int n = 0; n < 4000 && std::getline(file, line); n++)
        text += line + '\\n';
    auto other = std::async(std::launch::async, [] { return area(make_shape(8)); });
    auto counts = tally(split(text));
    long total = 0;
    for (const auto &[word, count] : counts)
        total = (total * 31 + count * long(word.size())) % 1000003;
    std::cout << counts.size() << ' ' << total << ' ' << other.get() << std::endl;
    try {
        area(nullptr);
    } catch (const std::exception &e) {
        std::cout << e.what() << std::endl;
    }
    return 0;
}
"""

CXX_HEADER = """#pragma once
#include <map>
#include <memory>
#include <string>
#include <vector>
struct node;
using shape = std::shared_ptr<node>;
std::vector<std::string> split(const std::string &text);
std::map<std::string, int> tally(const std::vector<std::string> &words);
shape make_shape(int depth);
double area(const shape &s);
"""


def make_cxx_project(root):
    root.mkdir()
    files = {"words.cc": CXX_WORDS, "shapes.cc": CXX_SHAPES, "main.cc": CXX_MAIN, "parts.h": CXX_HEADER}
    for name, text in files.items():
        (root / name).write_text(text, encoding="ascii")


def make_history(rng, words, commits_nr):
    """A stream for git fast-import: files grow, change and go; a side branch is merged every 40 commits."""
    files, stream = {}, []

    def emit(ref, mark, message, parents, changes):
        stream.append(f"commit {ref}\nmark :{mark}\n"
                      f"committer Ada Example <ada@example.org> {EPOCH + mark * 1000} +0000\n"
                      f"data {len(message)}\n{message}\n" + parents)
        for name, text in changes:
            stream.append(f"M 100644 inline {name}\ndata {len(text)}\n{text}\n" if text is not None else f"D {name}\n")
        stream.append("\n")

    main_parent = ""
    for mark in range(1, commits_nr + 1):
        changes = []
        for _ in range(1 + int(rng.random() * 4)):
            name = f"src/{words[int(rng.random() * 60)]}/{words[int(rng.random() * 40)]}.txt"
            lines = files.get(name, [])
            spot = int(rng.random() * (len(lines) + 1))
            fresh = [" ".join(rng.choice(words) for _ in range(6)) for _ in range(1 + int(rng.random() * 30))]
            files[name] = lines[:spot] + fresh + lines[spot + int(rng.random() * 5):]
            changes.append((name, "\n".join(files[name]) + "\n"))
        if mark % 25 == 0:
            gone = sorted(files)[int(rng.random() * len(files))]
            del files[gone]
            changes = [c for c in changes if c[0] != gone] + [(gone, None)]
        emit("refs/heads/main", mark, f"change {mark}: {rng.choice(words)} {rng.choice(words)}", main_parent, changes)
        main_parent = f"from :{mark}\n"
        if mark % 40 == 0:
            side = commits_nr + mark
            emit("refs/heads/side", side, f"side {side}", main_parent, [(f"side/{side}.txt", "side\n" * mark)])
            main_parent = f"from :{mark}\nmerge :{side}\n"
    return "".join(stream)


def main():
    root = pathlib.Path(sys.argv[1])
    root.mkdir()
    rng = random.Random(20240229)
    words = make_words(rng, 4000)
    text = make_text(rng, words, 48_000)
    (root / "words.txt").write_text("\n".join(words) + "\n", encoding="ascii")
    (root / "text.txt").write_text(text, encoding="ascii")
    (root / "table.csv").write_text(make_table(rng, words, 40_000), encoding="ascii")
    (root / "history.fi").write_text(make_history(rng, words, 400), encoding="ascii")
    make_tree(rng, root / "tree", text)
    make_c_project(root / "c")
    make_cxx_project(root / "cxx")


if __name__ == "__main__":
    main()
