# SPDX-License-Identifier: MIT
# What the programs of bench/real share: the command line, packages, measuring, the line of JSON. Each sources this file first,
# defines need_packages, workload and, where it has inputs to make, prepare, and ends with `main "$@"`.
#
#   NAME setup DIR [--install]    makes the inputs in DIR/NAME, on the C library's malloc; leaves with 77 and prints the names
#                                 of the packages when some are missing; --install installs them by apt-get
#   NAME run DIR                  runs the workload once on the allocator BENCH_PRELOAD names ("" for the C library's)
#
# Everything a workload says on stdout goes to DIR/NAME/out and is what output_sum is taken of; it holds nothing that differs
# from run to run, so that a different sum is a wrong result.

set -eu -o pipefail
shopt -s inherit_errexit

here=$(cd "$(dirname "${BASH_SOURCE[0]}")" && pwd -P)
root=$(cd "$here/../.." && pwd -P)
# shellcheck source=tools/common.bash
. "$root/tools/common.bash"
readonly here root name=${0##*/}
# What a program prints must not depend on the caller, and hash seeds decide how much memory it takes.
export PATH=/usr/sbin:/usr/bin:/sbin:/bin LC_ALL=C.UTF-8 TZ=UTC PYTHONHASHSEED=0 PERL_HASH_SEED=0
unset LD_PRELOAD
prepare() { :; }
as_user=() # what runs a program as another user
members='' # what a workload adds to the line of JSON, each member with a comma and a blank before it

# measure [--family] PROGRAM [ARGUMENT...]: the measured run; its figures are kept for the line.
measure() {
    local -a options=()
    if [ "$1" = --family ]; then
        options=("$1")
        shift
    fi
    "${as_user[@]}" "$dir/measure" "${options[@]}" "$dir/figures" "$@"
}

calc() { awk "BEGIN { printf \"%.6f\", $* }"; }

# Before a server is started: a folder for its socket, whose path must be short, in $sockets; when the script ends, however it
# does, the folder goes and the server, were it still there, is told to end.
serve() {
    sockets=$(mktemp -d /tmp/bench-real.XXXXXX)
    trap '[ -z "${server:-}" ] || kill "$server" 2>/dev/null || true; rm -rf "$sockets"' EXIT
}

# served WALL_S OPERATIONS: after a server ended. Its wall time is the time its clients were served, not its life.
served() {
    wait "$server" || die "$name: the server failed: $(tail -n 3 log)"
    server=
    sed -i -E "s/\"wall_s\": [0-9.]+/\"wall_s\": $1/" "$dir/figures"
    members+=", \"mops\": $(calc "$2 / $1 / 1e6")"
}

# Wait until a command succeeds, for at most twenty seconds, or until the server is known to have failed.
wait_for() {
    local tries
    for ((tries = 0; tries < 1000; tries++)); do
        if "$@" >/dev/null 2>&1; then return 0; fi
        kill -0 "$server" 2>/dev/null || break
        sleep 0.02
    done
    die "$name: never succeeded: $*; $(tail -n 3 log)"
}

# Services of the packages must not start when they are installed.
install_quietly() {
    local policy=/usr/sbin/policy-rc.d
    if [ -e "$policy" ] || [ "$(id -u)" != 0 ]; then
        install_missing
        return
    fi
    trap 'rm -f /usr/sbin/policy-rc.d' EXIT
    printf '#!/bin/sh\nexit 101\n' >"$policy"
    chmod 755 "$policy"
    install_missing
    rm -f "$policy"
    trap - EXIT
}

setup() {
    need gcc command -v cc
    need libc6-dev test -e /usr/include/stdio.h
    need_packages
    if [ ${#missing[@]} -gt 0 ]; then
        if [ "${1:-}" != --install ]; then
            printf '%s\n' "${missing[@]}"
            exit 77
        fi
        install_quietly
    fi
    mkdir -p "$dir"
    cc -std=c11 -O2 -o "$dir/measure" "$here/measure.c"
    cd "$dir"
    BENCH_PRELOAD='' prepare
    touch ready
}

run() {
    [ -e "$dir/ready" ] || die "$name: not set up; first: $name setup DIR"
    cd "$dir"
    rm -f figures
    workload >out </dev/null
    printf '{"program": "%s", %s, "output_sum": "%s"%s}\n' "$name" "$(<figures)" "$(sha256sum <out | cut -c1-16)" "$members"
}

main() {
    case "${1:-} $#" in
    'setup 2' | 'setup 3' | 'run 2') ;;
    *) die "usage: $name setup DIR [--install] | $name run DIR" ;;
    esac
    mkdir -p "$2"
    dir=$(cd "$2" && pwd -P)/$name
    if [ "$1" = setup ]; then setup "${@:3}"; else run; fi
}
