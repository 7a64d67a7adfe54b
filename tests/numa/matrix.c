/* SPDX-License-Identifier: MIT */
/*
 * `quarry numa PID`, asked about this very process on two nodes: what it says of objects, of pages and of frees far
 * away must be what was done. Owns the doing and the judging; the nodes are nodes.h's.
 *
 * guest:
 */
#include "nodes.h"

#include <pthread.h>
#include <quarry/quarry.h>
#include <sys/wait.h>

enum { OBJECTS = 30000, SIZE = 224, FREED = OBJECTS / 2, SLACK_PERCENT = 5, LINE = 1024 };
static char *objects[NODES_MAX][OBJECTS];
static unsigned here, there;

static void *make(void *arg) {
    unsigned node = (unsigned)(uintptr_t)arg;
    nodes_go(node);
    for (unsigned i = 0; i < OBJECTS; i++) {
        CHECK((objects[node][i] = malloc(SIZE)) != NULL);
        memset(objects[node][i], 1, SIZE);
    }
    return NULL;
}

/* By a thread of the other node. */
static void *drop(void *arg) {
    (void)arg;
    nodes_go(there);
    for (unsigned i = 0; i < FREED; i++)
        free(objects[here][i]);
    return NULL;
}

static void run(void *(*fn)(void *), unsigned node) {
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, fn, (void *)(uintptr_t)node) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
}

/* Figures by column, and by row where a table has rows for nodes. */
struct said {
    unsigned columns_nr;
    unsigned node[NODES_MAX];                  /* of a column */
    unsigned long out[NODES_MAX];              /* of the class, handed out */
    unsigned long lies[NODES_MAX][NODES_MAX];  /* of a node, on a node */
    unsigned long freed[NODES_MAX][NODES_MAX]; /* of a node, on a node */
};

static void columns_read(struct said *s, const char *at) {
    s->columns_nr = 0;
    while ((at = strstr(at, "node ")) != NULL && s->columns_nr < NODES_MAX)
        s->node[s->columns_nr++] = (unsigned)strtoul(at + 5, (char **)(uintptr_t)&at, 10);
}

/* "-" counts as nothing. */
static void figures_read(const struct said *s, char *at, unsigned long *figures) {
    for (unsigned i = 0; i < s->columns_nr; i++) {
        at += strspn(at, " ");
        figures[s->node[i]] = strtoul(at, &at, 10);
        at += *at == '-';
    }
}

static void line_take(struct said *s, char *line) {
    static char table[LINE];
    unsigned node;
    if (strncmp(line, "bytes in", 8) == 0 || strncmp(line, "handed", 6) == 0 || strncmp(line, "bytes that", 10) == 0 ||
        strncmp(line, "objects freed", 13) == 0) {
        strcpy(table, line);
        columns_read(s, line);
    } else if (strncmp(line, "malloc-224 ", 11) == 0 && strncmp(table, "handed", 6) == 0) {
        figures_read(s, line + 11, s->out);
    } else if (sscanf(line, "of node %u", &node) == 1 && node < NODES_MAX) {
        bool lies = strncmp(table, "bytes that", 10) == 0;
        figures_read(s, strstr(line, "node") + 6, lies ? s->lies[node] : s->freed[node]);
    }
}

/* The guest has no shell. */
static FILE *tool_start(pid_t *ret_pid) {
    char self[16];
    int ends[2];
    CHECK(pipe(ends) == 0);
    (void)snprintf(self, sizeof(self), "%d", (int)getpid());
    *ret_pid = fork();
    CHECK(*ret_pid >= 0);
    if (*ret_pid == 0) {
        (void)dup2(ends[1], STDOUT_FILENO);
        execl("/quarry", "quarry", "numa", self, (char *)NULL);
        _exit(127);
    }
    close(ends[1]);
    return fdopen(ends[0], "r");
}

static void ask(struct said *s) {
    char line[LINE];
    int status;
    pid_t pid;
    FILE *tool = tool_start(&pid);
    CHECK(tool != NULL);
    while (fgets(line, sizeof(line), tool) != NULL) {
        fputs(line, stdout);
        line_take(s, line);
    }
    fclose(tool);
    CHECK(waitpid(pid, &status, 0) == pid && status == 0);
}

static bool near_to(unsigned long a, unsigned long b) {
    unsigned long slack = b * SLACK_PERCENT / 100;
    return a + slack >= b && a <= b + slack;
}

static bool both(unsigned node) { return nodes_memory[node] && nodes_has_cpus(node); }

int main(void) {
    static struct said said;
    uint64_t remote = 0;
    nodes_read();
    while (!both(here))
        here++;
    for (there = here + 1; there < nodes_nr && !both(there);)
        there++;
    if (there == nodes_nr)
        return NODES_SKIPPED;
    run(make, here);
    run(make, there);
    run(drop, there);
    (void)quarry_trim(0);
    ask(&said);
    CHECK(quarry_stat("remote_frees", &remote) == 0);
    unsigned long each = (unsigned long)OBJECTS * SIZE, left = each - (unsigned long)FREED * SIZE;
    CHECK_MSG(near_to(said.out[here], left), "%lu bytes handed out of node %u, not %lu", said.out[here], here, left);
    CHECK_MSG(near_to(said.out[there], each), "%lu bytes handed out of node %u, not %lu", said.out[there], there, each);
    CHECK(near_to(said.freed[here][there], FREED) && said.freed[there][here] * 20 < FREED);
    CHECK(remote >= said.freed[here][there] && remote <= said.freed[here][there] + FREED / 20);
    /* The first magazine of a thread that comes to a node may be its id's of before. */
    CHECK(said.lies[here][here] + each / 20 >= left && said.lies[there][there] + each / 20 >= each);
    CHECK_MSG(said.lies[here][there] * 20 < each && said.lies[there][here] * 20 < each,
              "%lu and %lu bytes lie elsewhere", said.lies[here][there], said.lies[there][here]);
    return 0;
}
