/* SPDX-License-Identifier: MIT */
/*
 * posix_spawn and popen from several threads of a busy process: the children are this program again, preloaded like
 * it, and say what they were told to say.
 */
#include "check.h"
#include "oracle.h"
#include "workers.h"

#include <fcntl.h>
#include <pthread.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { SPAWNERS = 3, SPAWNS_EACH = 12, CHILD_STATUS = 17, CHILD_STEPS = 3000 };

extern char **environ;
static const char *self_path;

static int child_main(const char *text) {
    static struct pool pool;

    pool_init(&pool, 7, 1, 0);
    pool_steps(&pool, CHILD_STEPS);
    pool_drain(&pool);
    printf("child %s\n", text);
    return CHILD_STATUS;
}

static void output_check(FILE *stream, const char *text) {
    char wanted[64], line[64];

    CHECK(stream != NULL);
    snprintf(wanted, sizeof wanted, "child %s\n", text);
    CHECK(fgets(line, sizeof line, stream) != NULL);
    CHECK_MSG(!strcmp(line, wanted), "the child said %s", line);
}

static void spawn_once(const char *text) {
    char name[] = "spawned", mode[] = "--child", copy[32];
    char *arguments[] = {name, mode, copy, NULL};
    posix_spawn_file_actions_t actions;
    int pipes[2], status;
    FILE *stream;
    pid_t child;

    snprintf(copy, sizeof copy, "%s", text);
    CHECK(pipe2(pipes, O_CLOEXEC) == 0);
    CHECK(posix_spawn_file_actions_init(&actions) == 0);
    CHECK(posix_spawn_file_actions_adddup2(&actions, pipes[1], STDOUT_FILENO) == 0);
    CHECK(posix_spawn(&child, self_path, &actions, NULL, arguments, environ) == 0);
    CHECK(posix_spawn_file_actions_destroy(&actions) == 0);
    CHECK(close(pipes[1]) == 0);
    stream = fdopen(pipes[0], "r");
    output_check(stream, text);
    fclose(stream);
    CHECK(waitpid(child, &status, 0) == child && WIFEXITED(status) && WEXITSTATUS(status) == CHILD_STATUS);
}

static void popen_once(const char *text) {
    char command[512];
    FILE *stream;
    int status;

    snprintf(command, sizeof command, "'%s' --child %s", self_path, text);
    stream = popen(command, "re");
    output_check(stream, text);
    status = pclose(stream);
    CHECK(WIFEXITED(status) && WEXITSTATUS(status) == CHILD_STATUS);
}

static void *spawner_run(void *index) {
    for (size_t i = 0; i < SPAWNS_EACH; i++) {
        char text[32];
        snprintf(text, sizeof text, "%zu-%zu", (size_t)index, i);
        if (i % 3 == 2)
            popen_once(text);
        else
            spawn_once(text);
    }
    return NULL;
}

int main(int argc, char **argv) {
    pthread_t spawners[SPAWNERS];

    if (argc == 3 && !strcmp(argv[1], "--child"))
        return child_main(argv[2]);
    self_path = argv[0];
    workers_start(4, 7, 100000, POOL_ENOMEM_FATAL);
    for (size_t i = 0; i < SPAWNERS; i++)
        CHECK(pthread_create(&spawners[i], NULL, spawner_run, (void *)i) == 0);
    for (size_t i = 0; i < SPAWNERS; i++)
        CHECK(pthread_join(spawners[i], NULL) == 0);
    workers_stop();
    return 0;
}
