# SPDX-License-Identifier: MIT
# What the workloads of tests/integ/programs share: each sources this file first. The driver sets WORK (the current
# directory, removed afterwards), CORPUS (see corpus.py), PROGRAMS_D (this directory), HOME, TMPDIR and LD_PRELOAD. Any
# command that fails ends the workload.

set -eu -o pipefail
shopt -s inherit_errexit

# A heading in the output, so that a difference is easy to place.
part() {
    echo "== $*"
}

# The digest of standard input, or of each file named.
digest() {
    if [ $# -eq 0 ]; then
        sha256sum | cut -c1-32
    else
        sha256sum "$@" | cut -c1-32,65-
    fi
}

# Run a command that may fail, and say how it ended.
status_of() {
    local status=0
    "$@" || status=$?
    echo "status $status: $1"
}

# The first lines of standard input. Unlike head it reads to the end, so that the writer is not killed by SIGPIPE,
# sooner on one run and later on another.
first() {
    sed -n "1,$1p"
}

# Name the files that tell why, should the workload fail: they then end up in its standard error.
show_on_failure() {
    # shellcheck disable=SC2064
    trap "[ \$? -eq 0 ] || tail -n 100 -v $* >&2 2>/dev/null" EXIT
}

# This machine cannot run the workload; the driver calls that a skip.
cannot_run() {
    echo "$*" >&2
    exit 77
}

# Wait until a command succeeds, for at most twenty seconds.
wait_for() {
    local tries
    for ((tries = 0; tries < 400; tries++)); do
        if "$@" >/dev/null 2>&1; then
            return 0
        fi
        sleep 0.05
    done
    echo "never succeeded: $*" >&2
    return 1
}

# A TCP port nobody listens on now.
free_port() {
    /usr/bin/python3 -c 'import socket; s = socket.socket(); s.bind(("127.0.0.1", 0)); print(s.getsockname()[1])'
}
