// SPDX-License-Identifier: MIT
//
// containers: the C++ library's containers as programs use them: std::map with random insertion, lookup and erasure;
// std::unordered_map from words to counts; std::string cut out of a text, joined and replaced; std::vector that grows
// element by element, and vectors of vectors; std::list spliced, sorted and pruned. All memory comes by operator new,
// and is freed in the order in which containers drop it: trees in key order, tables in bucket order, vectors from both
// ends. Each part checks its result by a sum that the others know in another way. Prints ns per element of each part,
// the resident set with the results of all parts alive (rss_live_bytes), and at the end.
#include <algorithm>
#include <cstdint>
#include <list>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

extern "C" {
#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/rand.h"
#include "../lib/scenario_threads.h"
}

namespace {

struct {
    uint64_t threads = 1;
    uint64_t rounds = 3;
    uint64_t elements = 100000;
} setup;

void expect(bool held, const char *what) {
    if (!held)
        die("%s: memory was overwritten", what);
}

using Tree = std::map<uint64_t, uint64_t>;
using Words = std::unordered_map<std::string, uint64_t>;
using Strings = std::vector<std::string>;
using Rows = std::vector<std::vector<uint32_t>>;
using Numbers = std::list<uint64_t>;

// Keys in random order; every other one goes again, half of them by iteration, so that holes are spread over the tree.
Tree tree_run(struct rand &random) {
    Tree tree;
    std::vector<uint64_t> keys(setup.elements);
    uint64_t sum = 0;

    for (uint64_t &key : keys) {
        key = rand_next(&random);
        tree.emplace(key, ~key);
    }
    for (size_t at = 0; at < keys.size(); at += 2) {
        auto found = tree.find(keys[at]);
        expect(found != tree.end() && found->second == ~keys[at], "map");
        tree.erase(found);
    }
    for (const auto &[key, value] : tree)
        sum += key + value + 1;
    expect(sum == 0 && tree.size() == keys.size() / 2, "map");
    return tree;
}

// Words of which the short ones, below the string's own buffer, repeat and the long ones hardly do.
std::string word_draw(struct rand &random) {
    uint64_t number = rand_next(&random) >> 32;
    std::string word = std::to_string(number % 5000);

    if (number % 4 == 0)
        word += "-" + std::to_string(number) + "-" + std::to_string(number * number);
    return word;
}

Words words_run(struct rand &random) {
    Words words;
    uint64_t counted = 0;
    uint64_t pruned = 0;

    for (uint64_t made = 0; made < setup.elements; made++)
        words[word_draw(random)]++;
    for (auto word = words.begin(); word != words.end();) {
        counted += word->second;
        if (word->first.size() > 20 && ++pruned % 2 == 0)
            word = words.erase(word);
        else
            ++word;
    }
    expect(counted == setup.elements, "unordered_map");
    return words;
}

// A text is joined from words, cut into lines and lines into fields; every line is edited.
Strings strings_run(struct rand &random) {
    std::string text;
    Strings lines;
    uint64_t fields = 0;

    for (uint64_t made = 0; made < setup.elements; made++)
        text += word_draw(random) + (made % 8 == 7 ? '\n' : ' ');
    for (size_t start = 0; start < text.size();) {
        size_t end = std::min(text.find('\n', start), text.size());
        std::string line = text.substr(start, end - start);
        size_t at = 0;

        for (size_t space; (space = line.find(' ', at)) != std::string::npos; at = space + 2) {
            std::string field = line.substr(at, space - at);

            line.replace(space, 1, "; ");
            fields += field.empty() ? 0 : 1;
        }
        lines.push_back(std::move(line));
        start = end + 1;
    }
    expect(fields == setup.elements - lines.size() + (setup.elements % 8 != 0 ? 1 : 0), "string");
    return lines;
}

// Rows of different lengths grow in turn, so that every growth moves past its neighbours'; some are dropped on the way.
Rows rows_run(struct rand &random) {
    Rows rows;
    uint64_t lost = 0;
    uint64_t held = 0;

    for (uint64_t made = 0; made < setup.elements; made++) {
        if (made % 64 == 0)
            rows.emplace_back();
        rows[rand_between(&random, rows.size() / 2, rows.size() - 1)].push_back(static_cast<uint32_t>(made));
        if (made % 4096 == 4095) {
            std::vector<uint32_t> &dropped = rows[rand_between(&random, 0, rows.size() - 1)];
            lost += dropped.size();
            std::vector<uint32_t>().swap(dropped);
        }
    }
    for (const auto &row : rows)
        held += row.size();
    expect(held + lost == setup.elements, "vector");
    return rows;
}

// Runs are filled at both ends, sorted, spliced to either end of the sequence, and pruned.
Numbers numbers_run(struct rand &random) {
    Numbers numbers;
    uint64_t made = 0;
    uint64_t sum = 0;

    while (made < setup.elements) {
        Numbers run;

        for (size_t nr = rand_between(&random, 1, 200); nr > 0 && made < setup.elements; nr--, made++) {
            if (made % 2 == 0)
                run.push_front(rand_next(&random) << 32 | made);
            else
                run.push_back(rand_next(&random) << 32 | made);
        }
        run.sort();
        numbers.splice(made % 2 == 0 ? numbers.begin() : numbers.end(), run);
    }
    for (uint64_t number : numbers)
        sum += static_cast<uint32_t>(number);
    expect(sum == made * (made - 1) / 2, "list");
    numbers.remove_if([](uint64_t number) { return number % 3 == 0; });
    return numbers;
}

// The results of the last round, kept together as a program's data are, and what each part took in all rounds.
struct Worker {
    struct rand random;
    Tree tree;
    Words words;
    Strings strings;
    Rows rows;
    Numbers numbers;
    uint64_t took_ns[5];
};

enum Part { MAP, UNORDERED_MAP, STRING, VECTOR, LIST, PARTS_NR };

const char *const part_names[PARTS_NR] = {"map", "unordered_map", "string", "vector", "list"};

// The former result is dropped only after the new one is there, and within the time.
template <typename Result> void part_time(Worker *worker, Part part, Result *result, Result (*run)(struct rand &)) {
    uint64_t start_ns = clock_now_ns();

    *result = run(worker->random);
    worker->took_ns[part] += clock_now_ns() - start_ns;
}

void *worker_body(void *argument) {
    Worker *worker = static_cast<Worker *>(argument);

    for (uint64_t round = 0; round < setup.rounds; round++) {
        part_time(worker, MAP, &worker->tree, tree_run);
        part_time(worker, UNORDERED_MAP, &worker->words, words_run);
        part_time(worker, STRING, &worker->strings, strings_run);
        part_time(worker, VECTOR, &worker->rows, rows_run);
        part_time(worker, LIST, &worker->numbers, numbers_run);
    }
    return nullptr;
}

void measure() {
    std::vector<Worker> workers(setup.threads);

    for (uint64_t id = 0; id < setup.threads; id++)
        workers[id].random.state = id + 1;
    workers_run(worker_body, workers.data(), sizeof(Worker), setup.threads);
    uint64_t live_bytes = mem_rss_bytes();

    json_open("containers");
    for (int part = 0; part < PARTS_NR; part++) {
        uint64_t took_ns = 0;

        for (const Worker &worker : workers)
            took_ns += worker.took_ns[part];
        json_f64(static_cast<double>(took_ns) / static_cast<double>(setup.threads * setup.rounds * setup.elements),
                 "ns_%s", part_names[part]);
    }
    json_u64(live_bytes, "rss_live_bytes");
    workers.clear();
    workers.shrink_to_fit();
    json_u64(mem_rss_bytes(), "rss_end_bytes");
    json_close();
}

} // namespace

int main(int argc, char **argv) {
    const struct arg args[] = {
        {"threads", &setup.threads, 1, WORKERS_MAX, nullptr, "threads, each with containers of its own"},
        {"rounds", &setup.rounds, 1, 1 << 20, nullptr, "times each part is done"},
        {"elements", &setup.elements, 64, 1 << 24, nullptr, "per part and round"},
    };

    args_parse_all(argc, argv, "containers: map, unordered_map, string, vector and list", args, ARGS_NR(args));
    measure();
    return 0;
}
