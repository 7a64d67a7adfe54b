// SPDX-License-Identifier: MIT
/*
 * sized_delete: operator new and the operator delete that is told the size, as C++14 containers and deleted objects of
 * known type call them. An allocator may use the size to skip the look-up that free() needs. Sizes 16 B to 32 KiB, on
 * one thread, as pairs and as batches of 1000 freed oldest first. Prints ns per new+delete pair for each size and kind.
 */
#include <cstddef>
#include <cstdint>
#include <new>

extern "C" {
#include "../lib/args.h"
#include "../lib/clock.h"
#include "../lib/die.h"
#include "../lib/escape.h"
#include "../lib/json.h"
#include "../lib/placed.h"
#include "../lib/rounds.h"
}

// Declared by <new> only where the compiler calls it by itself.
void operator delete(void *object, std::size_t size_bytes) noexcept;

namespace {

constexpr std::size_t sizes[] = {16, 32, 64, 128, 256, 512, 1024, 4096, 32768};
constexpr std::size_t batch_objs = 1000;
constexpr std::uint64_t round_max_objs = 50000;
constexpr std::uint64_t round_bytes = 16 << 20;
std::size_t *objects[batch_objs];

ALWAYS_INLINE std::uint64_t pairs_time_ns(std::size_t size_bytes, std::uint64_t nr) {
    std::uint64_t start_ns = clock_thread_ns();

    for (; nr > 0; nr--) {
        void *object = ::operator new(size_bytes);

        escape(object);
        ::operator delete(object, size_bytes);
    }
    return clock_thread_ns() - start_ns;
}

// nr is a multiple of the batch. The stamps are summed, so that an object handed out twice is noticed.
ALWAYS_INLINE std::uint64_t batches_time_ns(std::size_t size_bytes, std::uint64_t nr) {
    std::uint64_t start_ns = clock_thread_ns();
    std::size_t stamp_sum = 0;
    std::uint64_t batches = nr / batch_objs;

    for (std::uint64_t left = batches; left > 0; left--) {
        for (std::size_t at = 0; at < batch_objs; at++) {
            objects[at] = static_cast<std::size_t *>(::operator new(size_bytes));
            *objects[at] = at;
        }
        for (std::size_t at = 0; at < batch_objs; at++) {
            stamp_sum += *objects[at];
            ::operator delete(objects[at], size_bytes);
        }
    }
    if (stamp_sum != batches * (batch_objs * (batch_objs - 1) / 2))
        die("an object was overwritten");
    return clock_thread_ns() - start_ns;
}

PLACED(pairs_time_ns, std::uint64_t, (std::size_t size_bytes, std::uint64_t nr), (size_bytes, nr))
PLACED(batches_time_ns, std::uint64_t, (std::size_t size_bytes, std::uint64_t nr), (size_bytes, nr))

// Fewer of the larger ones, a multiple of the batch: some allocators give the whole batch back to the kernel.
std::uint64_t round_objs(std::size_t size_bytes) {
    std::uint64_t objs = round_bytes / size_bytes;

    if (objs > round_max_objs)
        return round_max_objs;
    return objs < batch_objs ? batch_objs : objs / batch_objs * batch_objs;
}

} // namespace

int main(int argc, char **argv) {
    std::uint64_t rounds = 25;
    const struct arg args[] = {
        {"rounds", &rounds, 1, ROUNDS_MAX, nullptr, "timed rounds per size and kind"},
    };

    args_parse_all(argc, argv, "sized_delete: ns per pair of operator new and sized delete", args, ARGS_NR(args));
    json_open("sized_delete");
    for (std::size_t size_bytes : sizes)
        json_f64(rounds_op_ns(pairs_time_ns_at, size_bytes, round_max_objs, rounds), "ns_pair_%zu", size_bytes);
    for (std::size_t size_bytes : sizes)
        json_f64(rounds_op_ns(batches_time_ns_at, size_bytes, round_objs(size_bytes), rounds), "ns_batch_%zu",
                 size_bytes);
    json_close();
    return 0;
}
