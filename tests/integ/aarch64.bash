# SPDX-License-Identifier: MIT
# What aarch64_user and aarch64_guest share: the cross build. Sourced, with `root` set to the top of the tree and `dir` to the folder everything is
# built in.

. "$root/tests/support/result.bash"

sysroot=/usr/aarch64-linux-gnu
# Of the limits inside tests (tests/meson.build): an emulator is slow.
export PATIENCE=6

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
