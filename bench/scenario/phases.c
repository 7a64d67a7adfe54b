/* SPDX-License-Identifier: MIT */
/*
 * phases: how a compiler allocates. For every unit of source a parse tree grows node by node; each of its functions
 * gets an arena of chunks for its instructions, filled from the tree and released when the function is done, while its
 * output is appended to one growing buffer; names go to a symbol table that stays to the end. The tree is freed with
 * its unit. So lifetimes nest, sizes differ by phase, and long-lived symbols lie between what is released in bulk.
 * Prints milliseconds per unit, the resident set after the last tree was freed, with the symbols live (rss_live_bytes,
 * against the requested live_bytes), and at the end. Each thread compiles units of its own, as make -j does with
 * processes.
 */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/json.h"
#include "../lib/mem.h"
#include "../lib/rand.h"
#include "../lib/scenario_object.h"
#include "../lib/scenario_threads.h"

enum {
    OPERANDS_MAX = 4,
    LEAF_DEPTH = 7,
    CHUNK_BYTES = 16 << 10,
    INSTRUCTION_MIN_BYTES = 24,
    INSTRUCTION_MAX_BYTES = 160,
    NAME_MIN_BYTES = 4,
    NAME_MAX_BYTES = 48,
    OUTPUT_START_BYTES = 512,
    SYMBOL_EVERY = 16
};

static struct {
    uint64_t threads;
    uint64_t units;
    uint64_t functions;
} setup = {.threads = 1, .units = 80, .functions = 100};

/* A node has room for its operands alone, so nodes differ in size. */
struct node {
    uint32_t kind;
    uint32_t operands_nr;
    struct node *operands[];
};

struct chunk {
    struct chunk *next;
    size_t used_bytes;
    unsigned char bytes[CHUNK_BYTES];
};

struct symbol {
    struct symbol *next;
    char *name;
    uint32_t kind;
};

struct output {
    unsigned char *bytes;
    size_t used_bytes;
    size_t size_bytes;
};

struct compiler {
    struct rand rand;
    struct symbol *symbols;
    uint64_t symbols_bytes; /* requested, and live */
    uint64_t nodes_nr;      /* made in all */
};

static void symbol_declare(struct compiler *compiler, uint32_t kind) {
    size_t name_bytes = rand_between(&compiler->rand, NAME_MIN_BYTES, NAME_MAX_BYTES);
    struct symbol *symbol = alloc_or_die(sizeof(*symbol));

    symbol->name = alloc_or_die(name_bytes);
    memset(symbol->name, 'a' + (int)(kind % 26), name_bytes - 1);
    symbol->name[name_bytes - 1] = '\0';
    symbol->kind = kind;
    symbol->next = compiler->symbols;
    compiler->symbols = symbol;
    compiler->symbols_bytes += sizeof(*symbol) + name_bytes;
}

static struct node *parse(struct compiler *compiler, unsigned depth) {
    size_t operands_nr = depth < LEAF_DEPTH ? rand_between(&compiler->rand, 1, OPERANDS_MAX) : 0;
    struct node *node = alloc_or_die(sizeof(*node) + operands_nr * sizeof(node->operands[0]));

    node->kind = (uint32_t)rand_next(&compiler->rand);
    node->operands_nr = (uint32_t)operands_nr;
    compiler->nodes_nr++;
    if (operands_nr == 0 && node->kind % SYMBOL_EVERY == 0)
        symbol_declare(compiler, node->kind);
    for (size_t at = 0; at < operands_nr; at++)
        node->operands[at] = parse(compiler, depth + 1);
    return node;
}

static void tree_free(struct node *node) {
    for (uint32_t at = 0; at < node->operands_nr; at++)
        tree_free(node->operands[at]);
    free(node);
}

static void *arena_take(struct chunk **arena, size_t bytes) {
    struct chunk *chunk = *arena;

    if (chunk == NULL || chunk->used_bytes + bytes > CHUNK_BYTES) {
        chunk = alloc_or_die(sizeof(*chunk));
        chunk->next = *arena;
        chunk->used_bytes = 0;
        *arena = chunk;
    }
    chunk->used_bytes += bytes;
    return chunk->bytes + chunk->used_bytes - bytes;
}

static void arena_release(struct chunk *arena) {
    while (arena != NULL) {
        struct chunk *next = arena->next;

        free(arena);
        arena = next;
    }
}

static void output_append(struct output *output, const void *bytes, size_t bytes_nr) {
    if (output->used_bytes + bytes_nr > output->size_bytes) {
        output->size_bytes = output->size_bytes == 0 ? OUTPUT_START_BYTES : output->size_bytes * 2;
        output->bytes = realloc(output->bytes, output->size_bytes);
        if (output->bytes == NULL)
            die("realloc(%zu) failed", output->size_bytes);
    }
    memcpy(output->bytes + output->used_bytes, bytes, bytes_nr);
    output->used_bytes += bytes_nr;
}

/* One instruction per node, after those of its operands; the output gets the node's kind. */
static void lower(struct compiler *compiler, const struct node *node, struct chunk **arena, struct output *output) {
    size_t size_bytes = rand_between(&compiler->rand, INSTRUCTION_MIN_BYTES / 8, INSTRUCTION_MAX_BYTES / 8) * 8;

    for (uint32_t at = 0; at < node->operands_nr; at++)
        lower(compiler, node->operands[at], arena, output);
    struct object *instruction = object_stamp(arena_take(arena, size_bytes), size_bytes, node->kind);
    object_check(instruction, node->kind);
    output_append(output, &instruction->tag, sizeof(instruction->tag));
}

static void unit_compile(struct compiler *compiler) {
    struct node **functions = alloc_or_die(setup.functions * sizeof(struct node *));
    struct output output = {0};
    uint64_t nodes_before = compiler->nodes_nr;

    for (uint64_t at = 0; at < setup.functions; at++)
        functions[at] = parse(compiler, 0);
    for (uint64_t at = 0; at < setup.functions; at++) {
        struct chunk *arena = NULL;

        lower(compiler, functions[at], &arena, &output);
        arena_release(arena);
    }
    if (output.used_bytes != (compiler->nodes_nr - nodes_before) * sizeof(uint32_t))
        die("a tree lost nodes");
    for (uint64_t at = 0; at < setup.functions; at++)
        tree_free(functions[at]);
    free(output.bytes);
    free(functions);
}

static void *compiler_body(void *argument) {
    for (uint64_t unit = 0; unit < setup.units; unit++)
        unit_compile(argument);
    return NULL;
}

static void symbols_free(struct symbol *symbol) {
    while (symbol != NULL) {
        struct symbol *next = symbol->next;

        if (symbol->name[0] != (char)('a' + symbol->kind % 26))
            die("a symbol was overwritten");
        free(symbol->name);
        free(symbol);
        symbol = next;
    }
}

static void measure(void) {
    static struct compiler compilers[WORKERS_MAX];
    uint64_t live_bytes = 0;
    uint64_t nodes_nr = 0;

    for (uint64_t id = 0; id < setup.threads; id++)
        compilers[id].rand.state = id + 1;
    uint64_t start_ns = clock_now_ns();
    workers_run(compiler_body, compilers, sizeof(*compilers), setup.threads);
    uint64_t took_ns = clock_now_ns() - start_ns;
    uint64_t rss_bytes = mem_rss_bytes();
    for (uint64_t id = 0; id < setup.threads; id++) {
        live_bytes += compilers[id].symbols_bytes;
        nodes_nr += compilers[id].nodes_nr;
        symbols_free(compilers[id].symbols);
    }

    json_open("phases");
    json_f64((double)took_ns / 1e6 / (double)setup.units, "ms_unit");
    json_u64(nodes_nr, "nodes");
    json_u64(live_bytes, "live_bytes");
    json_u64(rss_bytes, "rss_live_bytes");
    json_u64(mem_rss_bytes(), "rss_end_bytes");
    json_close();
}

int main(int argc, char **argv) {
    const struct arg args[] = {
        {.name = "threads", .number = &setup.threads, .min = 1, .max = WORKERS_MAX, .help = "compilers at a time"},
        {.name = "units", .number = &setup.units, .min = 1, .max = 1 << 20, .help = "units of source per thread"},
        {.name = "functions", .number = &setup.functions, .min = 1, .max = 1 << 20, .help = "functions of each unit"},
    };

    args_parse_all(argc, argv, "phases: trees, arenas and symbols, as in a compiler", args, ARGS_NR(args));
    measure();
    return 0;
}
