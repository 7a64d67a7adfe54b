/* SPDX-License-Identifier: MIT */
/*
 * Reading and writing .qtrace (see trace.h, docs/trace.md). The format is written down once: record_code() goes through
 * the fields of a record, and each field is coded into the file or out of it as the coder's direction has it.
 *
 * The arithmetic coder is a binary range coder with carry, as in LZMA: each bit has the share of the range that two
 * adaptive models give it on average. One model sees little of what came before and learns soon, the other sees more.
 * Its tables are mapped, so that a player's allocator is not called for them.
 */
#include "trace.h"

#include <assert.h>
#include <string.h>
#include <sys/mman.h>

static_assert(sizeof(struct trace_head) == TRACE_HEAD_BYTES, "the head is written as it lies in memory");
static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "and files are little endian");

const char *const trace_op_names[TRACE_OPS_NR] = {"malloc",   "calloc",         "realloc",      "free",
                                                  "memalign", "posix_memalign", "aligned_alloc"};

static const char magic[8] = "qtrace\x1a\n";

enum {
    OP_BITS = 3,
    OP_MASK = (1 << OP_BITS) - 1,
    SWITCH_BIT = 1 << OP_BITS, /* another thread than the record before: its number follows */
    VALUE_BITS = 7,
    VALUE_MORE = 1 << VALUE_BITS,
    VALUE_SHIFT_MAX = 63,
    ODDS_BITS = 16,
    ODDS_EVEN = 1 << (ODDS_BITS - 1),
    LEARN_SHIFT = 4, /* odds stay within 15..65521 of 65536, so both bits always have a share */
    RANGE_MIN = 1 << 24,
    CODE_BYTES = 5,
};

enum field { FIELD_HEAD, FIELD_THREAD, FIELD_TIME, FIELD_DISTANCE, FIELD_SIZE, FIELD_ALIGN };

static void problem_set(struct trace_coder *coder, const char *problem) {
    if (coder->problem == NULL)
        coder->problem = problem;
}

/* FNV-1a: finds any one changed byte. */
static uint64_t sum_add(uint64_t sum, uint8_t byte) { return (sum ^ byte) * 0x100000001b3u; }

static const uint64_t sum_start = 0xcbf29ce484222325u;

static uint64_t head_sum(const struct trace_head *head) {
    const uint8_t *bytes = (const uint8_t *)head;
    uint64_t sum = sum_start;

    for (size_t at = 0; at < offsetof(struct trace_head, head_sum); at++)
        sum = sum_add(sum, bytes[at]);
    return sum;
}

/* ---- bytes ---- */

static void byte_put(struct trace_coder *coder, uint8_t byte) {
    putc_unlocked(byte, coder->out);
    coder->head.packed_bytes++;
}

static uint8_t byte_get(struct trace_coder *coder) {
    if (coder->in == coder->in_end) {
        problem_set(coder, "it ends before its last record");
        return 0;
    }
    return *coder->in++;
}

/* ---- the arithmetic coder ---- */

/* Writes the topmost byte of low once no carry can reach it any more; 0xff bytes are held until then. */
static void low_shift(struct trace_coder *coder) {
    if (coder->low < 0xff000000u || coder->low > UINT32_MAX) {
        uint8_t carry = (uint8_t)(coder->low >> 32);

        for (uint8_t byte = coder->held; coder->held_nr > 0; coder->held_nr--, byte = 0xff)
            byte_put(coder, (uint8_t)(byte + carry));
        coder->held = (uint8_t)(coder->low >> 24);
    }
    coder->held_nr++;
    coder->low = (coder->low & 0x00ffffff) << 8;
}

static unsigned bit_code(struct trace_coder *coder, uint16_t *odds, uint16_t *more_odds, unsigned bit) {
    uint32_t share = (coder->range >> ODDS_BITS) * ((*odds + *more_odds) / 2u);

    if (!coder->writing)
        bit = coder->code >= share;
    if (bit == 0) {
        coder->range = share;
        *odds = (uint16_t)(*odds + ((UINT16_MAX + 1 - *odds) >> LEARN_SHIFT));
        *more_odds = (uint16_t)(*more_odds + ((UINT16_MAX + 1 - *more_odds) >> LEARN_SHIFT));
    } else {
        coder->range -= share;
        coder->low += share;
        coder->code -= share;
        *odds = (uint16_t)(*odds - (*odds >> LEARN_SHIFT));
        *more_odds = (uint16_t)(*more_odds - (*more_odds >> LEARN_SHIFT));
    }
    while (coder->range < RANGE_MIN) {
        coder->range <<= 8;
        if (coder->writing)
            low_shift(coder);
        else
            coder->code = coder->code << 8 | byte_get(coder);
    }
    return bit;
}

static uint32_t mix(uint64_t word) { return (uint32_t)((word * 0x9e3779b97f4a7c15u) >> 32); }

/* Where a model keeps the odds of a byte's bits in one situation: 256 places in a row, one for each prefix. */
static uint16_t *odds_of(struct trace_coder *coder, unsigned model, uint32_t situation) {
    return coder->odds[model] + (situation % (TRACE_ODDS_NR / 256)) * 256;
}

/* What the models look at for one byte of a field. */
static void situations(const struct trace_coder *coder, enum field field, unsigned byte_idx, unsigned byte_before,
                       uint32_t ret_situations[TRACE_MODELS_NR]) {
    uint64_t place = (uint64_t)field << 16 | byte_idx << 8 | byte_before;
    uint32_t op = coder->heads & 15;
    uint64_t little = op, more = op;

    if (field == FIELD_HEAD) {
        little = coder->heads & 0xff;
        more = (coder->heads & 0xfffff) | (uint64_t)mix(coder->last_size_bytes) << 20;
    } else if (field == FIELD_SIZE) {
        little = op | coder->last_size_bytes << 4;
        more = (coder->heads & 0xfff) | mix(coder->last_size_bytes * 31 + coder->size_before_bytes) * 4096ull;
    } else if (field == FIELD_DISTANCE) {
        little = coder->heads & 0xff;
        more = (coder->heads & 0xff) | coder->last_distance << 8;
    } else if (field == FIELD_TIME) {
        more = coder->heads & 0xfff;
    }
    ret_situations[0] = mix(little << 20 ^ place);
    ret_situations[1] = mix(more << 20 ^ place ^ 0x5a5a0000u);
}

static uint8_t byte_code(struct trace_coder *coder, const uint32_t at[TRACE_MODELS_NR], uint8_t byte) {
    uint16_t *odds = odds_of(coder, 0, at[0]);
    uint16_t *more_odds = odds_of(coder, 1, at[1]);
    unsigned prefix = 1;

    for (int shift = 7; shift >= 0; shift--)
        prefix = prefix << 1 | bit_code(coder, odds + prefix, more_odds + prefix, ((unsigned)byte >> shift) & 1u);
    return (uint8_t)prefix;
}

static bool arithmetic_begin(struct trace_coder *coder) {
    size_t model_bytes = TRACE_ODDS_NR * sizeof(uint16_t);
    uint16_t *odds =
        mmap(NULL, TRACE_MODELS_NR * model_bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);

    if (odds == MAP_FAILED) {
        problem_set(coder, "no memory to read or write it");
        return false;
    }
    for (size_t at = 0; at < (size_t)TRACE_MODELS_NR * TRACE_ODDS_NR; at++)
        odds[at] = ODDS_EVEN;
    for (unsigned model = 0; model < TRACE_MODELS_NR; model++)
        coder->odds[model] = odds + (size_t)model * TRACE_ODDS_NR;
    coder->range = UINT32_MAX;
    coder->held_nr = 1;
    return true;
}

static void arithmetic_end(struct trace_coder *coder) {
    if (coder->odds[0] != NULL)
        munmap(coder->odds[0], TRACE_MODELS_NR * TRACE_ODDS_NR * sizeof(uint16_t));
    coder->odds[0] = NULL;
}

/* ---- fields ---- */

/* A number, seven bits to a byte, the lowest first; the eighth bit says that more follow. */
static void value_code(struct trace_coder *coder, enum field field, uint64_t *value) {
    uint64_t left = coder->writing ? *value : 0, got = 0;
    uint8_t byte = 0;

    for (unsigned shift = 0, idx = 0; idx == 0 || (byte & VALUE_MORE) != 0; shift += VALUE_BITS, idx++) {
        uint32_t at[TRACE_MODELS_NR];
        uint8_t before = byte;

        if (shift > VALUE_SHIFT_MAX) {
            problem_set(coder, "it has a number of more than 64 bits");
            break;
        }
        byte = (uint8_t)((left & (VALUE_MORE - 1)) | (left >= VALUE_MORE ? VALUE_MORE : 0));
        left >>= VALUE_BITS;
        situations(coder, field, idx, before, at);
        byte = coder->head.method == TRACE_CODED ? byte_code(coder, at, byte) : byte_get(coder);
        coder->body_sum = sum_add(coder->body_sum, byte);
        got |= (uint64_t)(byte & (VALUE_MORE - 1)) << shift;
    }
    *value = got;
}

/* A number that a file could hold too large. Writers are trusted with what they pass. */
static void value_code_max(struct trace_coder *coder, enum field field, uint64_t *value, uint64_t max,
                           const char *problem) {
    value_code(coder, field, value);
    if (*value > max) {
        problem_set(coder, problem);
        *value = 0;
    }
}

static void head_code(struct trace_coder *coder, struct trace_record *record) {
    uint64_t head = record->op | (record->thread != coder->thread ? SWITCH_BIT : 0u);
    uint64_t thread = record->thread;

    value_code_max(coder, FIELD_HEAD, &head, SWITCH_BIT | (TRACE_OPS_NR - 1), "it has a call of an unknown kind");
    if ((head & OP_MASK) >= TRACE_OPS_NR)
        problem_set(coder, "it has a call of an unknown kind");
    coder->heads = coder->heads << 4 | (uint32_t)head;
    if ((head & SWITCH_BIT) != 0) {
        value_code_max(coder, FIELD_THREAD, &thread, coder->head.threads_nr - 1, "it has a thread out of range");
        coder->thread = (uint32_t)thread;
    }
    record->op = (enum trace_op)(head & OP_MASK);
    record->thread = coder->thread;
}

static void time_code(struct trace_coder *coder, struct trace_record *record) {
    uint64_t passed = record->ticks - coder->ticks;

    value_code(coder, FIELD_TIME, &passed);
    coder->ticks += passed;
    record->ticks = coder->ticks;
}

/* An object that dies is told by how many were born since, itself included; 0 is none. */
static void death_code(struct trace_coder *coder, struct trace_record *record) {
    uint64_t distance = record->dies != TRACE_NO_OBJECT ? coder->born_nr - record->dies : 0;

    value_code_max(coder, FIELD_DISTANCE, &distance, coder->born_nr, "it has an object that was not born");
    coder->last_distance = distance;
    record->dies = distance != 0 ? coder->born_nr - distance : TRACE_NO_OBJECT;
}

static void birth_code(struct trace_coder *coder, struct trace_record *record) {
    uint64_t align_shift = record->align_shift;

    value_code_max(coder, FIELD_SIZE, &record->size_bytes, UINT64_C(1) << TRACE_SIZE_SHIFT_MAX,
                   "it has a size out of range");
    coder->size_before_bytes = coder->last_size_bytes;
    coder->last_size_bytes = record->size_bytes;
    if (trace_op_aligns(record->op))
        value_code_max(coder, FIELD_ALIGN, &align_shift, TRACE_ALIGN_SHIFT_MAX, "it has an alignment out of range");
    record->align_shift = (unsigned)align_shift;
    record->born = coder->born_nr++;
}

static void record_code(struct trace_coder *coder, struct trace_record *record) {
    head_code(coder, record);
    time_code(coder, record);
    record->born = TRACE_NO_OBJECT;
    if (trace_op_dies(record->op))
        death_code(coder, record);
    else
        record->dies = TRACE_NO_OBJECT;
    if (trace_op_births(record->op))
        birth_code(coder, record);
    coder->records_nr++;
}

/* ---- writing ---- */

void trace_write_begin(struct trace_coder *coder, FILE *out, const char *name, uint32_t tick_ns) {
    struct trace_head head = {.version = TRACE_VERSION, .method = TRACE_CODED, .tick_ns = tick_ns};

    memcpy(head.magic, magic, sizeof(magic));
    memcpy(head.name, name, strnlen(name, TRACE_NAME_BYTES - 1));
    *coder = (struct trace_coder){.head = head, .out = out, .body_sum = sum_start, .writing = true};
    arithmetic_begin(coder);
    /* A head of zeros until the end: half a file is not taken for a whole one. */
    fwrite(&(struct trace_head){.version = 0}, sizeof(head), 1, out);
}

void trace_write(struct trace_coder *coder, const struct trace_record *record) {
    struct trace_record copy = *record;

    if (coder->problem != NULL)
        return;
    if (record->thread >= coder->head.threads_nr)
        coder->head.threads_nr = record->thread + 1;
    record_code(coder, &copy);
}

void trace_write_end(struct trace_coder *coder) {
    if (coder->problem != NULL)
        return;
    for (unsigned at = 0; at < CODE_BYTES; at++)
        low_shift(coder);
    arithmetic_end(coder);
    coder->head.records_nr = coder->records_nr;
    coder->head.objects_nr = coder->born_nr;
    coder->head.body_sum = coder->body_sum;
    coder->head.head_sum = head_sum(&coder->head);
    rewind(coder->out);
    fwrite(&coder->head, sizeof(coder->head), 1, coder->out);
}

/* ---- reading ---- */

static const char *head_problem(const struct trace_head *head, size_t nr_bytes) {
    if (nr_bytes < sizeof(head->magic) || memcmp(head->magic, magic, sizeof(magic)) != 0)
        return "it is not a trace";
    if (nr_bytes < sizeof(*head))
        return "it ends within its head";
    if (head->version != TRACE_VERSION)
        return "it is of another version of the format";
    if (head->head_sum != head_sum(head))
        return "its head is damaged";
    if (head->packed_bytes != nr_bytes - sizeof(*head))
        return nr_bytes - sizeof(*head) < head->packed_bytes ? "it is cut short" : "more follows than its head says";
    if (head->method >= TRACE_METHODS_NR || head->tick_ns == 0 || head->threads_nr == 0 ||
        head->name[TRACE_NAME_BYTES - 1] != '\0' || head->records_nr > UINT32_MAX ||
        head->objects_nr > head->records_nr)
        return "its head makes no sense";
    return NULL;
}

bool trace_read_begin(struct trace_coder *coder, const void *bytes, size_t nr_bytes) {
    struct trace_head head = {.version = 0};

    memcpy(&head, bytes, nr_bytes < sizeof(head) ? nr_bytes : sizeof(head));
    *coder = (struct trace_coder){.head = head, .problem = head_problem(&head, nr_bytes), .body_sum = sum_start};
    if (coder->problem != NULL)
        return false;
    coder->in = (const uint8_t *)bytes + sizeof(head);
    coder->in_end = coder->in + head.packed_bytes;
    if (head.method == TRACE_STORED)
        return true;
    if (!arithmetic_begin(coder))
        return false;
    for (unsigned at = 0; at < CODE_BYTES; at++)
        coder->code = coder->code << 8 | byte_get(coder);
    return coder->problem == NULL;
}

/* After the last record. */
static void body_check(struct trace_coder *coder) {
    if (coder->body_sum != coder->head.body_sum)
        problem_set(coder, "its records are damaged");
    if (coder->in != coder->in_end)
        problem_set(coder, "it goes on after its last record");
    if (coder->born_nr != coder->head.objects_nr)
        problem_set(coder, "its head counts other objects than its records make");
}

bool trace_read(struct trace_coder *coder, struct trace_record *ret_record) {
    struct trace_record record = {.op = TRACE_MALLOC};

    if (coder->problem != NULL)
        return false;
    if (coder->records_nr == coder->head.records_nr) {
        body_check(coder);
        return false;
    }
    record_code(coder, &record);
    if (record.born != TRACE_NO_OBJECT && record.born >= coder->head.objects_nr)
        problem_set(coder, "it has more objects than its head says");
    if (coder->problem != NULL)
        return false;
    *ret_record = record;
    return true;
}

void trace_read_end(struct trace_coder *coder) { arithmetic_end(coder); }
