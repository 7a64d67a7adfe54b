# SPDX-License-Identifier: MIT
# What aarch64_user and aarch64_guest share: the cross build, and how a result is said. Sourced, with `root` set to the top of the tree and
# `dir` to the folder everything is built in.

. "$root/tools/common.bash"

sysroot=/usr/aarch64-linux-gnu
failed=0 passed=0

skip() { say "skipped: $*"; exit 77; }
# result NAME STATUS [WANTED]: one line; STATUS 77 is a skip.
result() {
    if [ "$2" = "${3:-0}" ]; then
        passed=$((passed + 1)); echo "ok - $1"
    elif [ "$2" = 77 ]; then
        echo "ok - $1 # SKIP"
    else
        failed=$((failed + 1)); echo "not ok - $1 (status $2)"
    fi
}
finish() {
    echo "$passed passed, $failed failed"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

# Installs what need() named, or leaves the test as skipped.
packages_or_skip() {
    [ ${#missing[@]} = 0 ] || (install_missing) || skip "these packages cannot be had: ${missing[*]}"
    missing=()
}

need_to_cross() {
    need_to_build
    need gcc-aarch64-linux-gnu command -v aarch64-linux-gnu-gcc
    need libc6-dev-arm64-cross test -e $sysroot/lib/libc.so.6
}

# cross_build NAME MESON_OPTION...: both libraries without a warning, in $dir/NAME. The rest of the tree is built where a test asks for it.
cross_build() {
    local build=$dir/$1
    shift
    configure "$build" --cross-file "$root/tools/dev/cross/aarch64.ini" "$@" || return 1
    say "building ${build#"$root"/}"
    ninja -C "$build" src/libquarry.so src/libquarry.a >"$build/log" 2>&1 </dev/null || { cat "$build/log" >&2; return 1; }
    ! grep 'warning:' "$build/log" >&2
}
