/* SPDX-License-Identifier: MIT */
/*
 * glibc's questions about the heap, answered from our own accounts (obs/). Owns the translation alone: glibc's words
 * describe arenas, chunks and bins, and where quarry has no such thing the field says so below. Called by programs that
 * watch or tune their memory.
 *
 * arena: uordblks + fordblks, all that quarry holds but big regions in use. With hblkhd it is what the kernel counts
 * and what was never written, less quarry's own data, whose memory only the kernel knows.
 *
 * uordblks: objects handed out, big regions apart.
 *
 * fordblks: all the rest. Free memory, magazines and regions kept for reuse included, and ends of slabs.
 *
 * fsmblks: free objects in magazines (glibc: in fast bins).
 *
 * keepcost: free runs, what malloc_trim may give back.
 *
 * ordblks: 1, as in a heap that is all top. Free memory is not counted in chunks here.
 *
 * hblks, hblkhd: big regions in use, and their bytes.
 *
 * usmblks, smblks: 0.
 */
#include "engine/engine.h"
#include "front/names.h"
#include "obs/obs.h"

#include <errno.h>
#include <limits.h>
#include <stdio.h>

EXPORT_WEAK int malloc_info(int options, FILE *stream);

/* The one hint of mallopt that can be refused, and what glibc refuses: more than 80 bytes for each 4 of a size_t. */
enum { PARAM_MXFAST = 1, MXFAST_MAX_BYTES = 80 * sizeof(size_t) / 4 };

enum { STDERR_FD = 2 };

struct mallinfo2 mallinfo2(void) {
    struct obs_stats s;
    obs_collect(&s, OBS_COUNTERS);
    size_t objects_bytes = s.live_bytes - MIN(s.live_bytes, s.big_live_bytes);
    size_t magazines_bytes = s.cached_bytes + s.depot_bytes;
    size_t free_bytes = magazines_bytes + s.slab_free_bytes + s.run_free_bytes + s.pages_free_bytes +
                        s.big_cached_bytes + s.slab_tail_bytes;
    return (struct mallinfo2){
        .arena = objects_bytes + free_bytes,
        .ordblks = 1,
        .hblks = s.big_regions,
        .hblkhd = s.big_live_bytes,
        .fsmblks = magazines_bytes,
        .uordblks = objects_bytes,
        .fordblks = free_bytes,
        .keepcost = s.run_free_bytes,
    };
}

/* The old form counts in int. Where glibc wraps around, we stop at the largest. */
static int clamped(size_t x) { return x > INT_MAX ? INT_MAX : (int)x; }

struct mallinfo mallinfo(void) {
    struct mallinfo2 m = mallinfo2();
    return (struct mallinfo){
        .arena = clamped(m.arena),
        .ordblks = clamped(m.ordblks),
        .hblks = clamped(m.hblks),
        .hblkhd = clamped(m.hblkhd),
        .fsmblks = clamped(m.fsmblks),
        .uordblks = clamped(m.uordblks),
        .fordblks = clamped(m.fordblks),
        .keepcost = clamped(m.keepcost),
    };
}

/* Raw write(2): no stdio lock is held and there is no cancellation point, so a thread may be cancelled at any moment
 * around it. */
void malloc_stats(void) { obs_report_text(STDERR_FD); }

int malloc_trim(size_t pad) { return engine_trim(pad) > 0; }

struct xml_sink {
    FILE *stream;
    bool failed;
};

static void sink_write(void *arg, const char *text, size_t bytes) {
    struct xml_sink *sink = arg;
    if (!sink->failed && fwrite(text, 1, bytes, sink->stream) != bytes)
        sink->failed = true;
}

/* options is reserved and must be 0. 0, or -1 with errno (from the stream when it could not take the text); glibc gives
 * EINVAL as the result itself. */
int malloc_info(int options, FILE *stream) {
    if (options != 0)
        return EINVAL;
    struct xml_sink sink = {.stream = stream, .failed = false};
    obs_report_xml(sink_write, &sink);
    return sink.failed ? -1 : 0;
}

/*
 * The answers are those of glibc 2.36, which takes everything but a fast bin's size beyond its limit, parameters it
 * does not know among it. All are hints about the shape of glibc's heap, or (M_PERTURB, M_CHECK_ACTION) aids for
 * debugging it, and none has an effect here: quarry is tuned by its own options, read once at start (docs/tuning.md). 0
 * would make programs that check the result report a failure that harms nobody.
 */
int mallopt(int param, int value) { return param != PARAM_MXFAST || (value >= 0 && value <= MXFAST_MAX_BYTES); }
