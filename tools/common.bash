# SPDX-License-Identifier: MIT
# What tools/run, tools/test and .ci/run share: finding what is missing, installing it, building. Sourced, with `root` set to the
# top of the tree. Everything said here goes to stderr: stdout belongs to the program that is run.

: "${root:?}"

say() { printf 'quarry: %s\n' "$*" >&2; }
die() { say "$*"; exit 1; }

missing=()
installed_any=no
# need PACKAGE COMMAND...: the Debian package is wanted unless the command succeeds.
need() {
    local package=$1
    shift
    "$@" >/dev/null 2>&1 || missing+=("$package")
}

need_to_build() {
    need gcc command -v cc
    need libc6-dev test -e /usr/include/stdio.h
    need meson command -v meson
    need ninja-build command -v ninja
    need pkg-config command -v pkg-config
    need libdw-dev pkg-config --exists libdw
    need libjson-c-dev pkg-config --exists json-c
    need python3 command -v python3
}

need_to_test() {
    need_to_build
    need binutils command -v objdump
    need g++ command -v g++
    need gcc command -v gcc
    need liburcu-dev pkg-config --exists liburcu-memb
    need libcriterion-dev pkg-config --exists criterion
    need musl-tools command -v musl-gcc
    need procps command -v slabtop
    need clang-format-14 command -v clang-format-14
}

# Installs what need() found missing. Nothing missing: no package manager, no network.
install_missing() {
    [ ${#missing[@]} -gt 0 ] || return 0
    local -a as_root=()
    command -v apt-get >/dev/null || die "missing: ${missing[*]} (Debian's names); install them and run this again"
    if [ "$(id -u)" != 0 ]; then
        command -v sudo >/dev/null || die "missing: ${missing[*]}; as root: apt-get install ${missing[*]}"
        as_root=(sudo)
    fi
    say "installing ${missing[*]}"
    "${as_root[@]}" apt-get -qq update </dev/null >&2 || say "apt-get update failed; trying with the package lists at hand"
    "${as_root[@]}" env DEBIAN_FRONTEND=noninteractive apt-get -qq -y --no-install-recommends install "${missing[@]}" \
        </dev/null >&2 || die "could not install ${missing[*]}"
    missing=()
    installed_any=yes
}

# Whether a build directory is whole and was made for this tree: a tree may be moved or copied with its build directory.
configured() {
    [ -e "$1/build.ninja" ] && grep -qF "\"source\": \"$root\"" "$1/meson-info/meson-info.json" 2>/dev/null
}

# meson_setup MESON_ARGUMENT...: with the folder of Debian's libraries, which Meson knows by itself with dpkg-dev alone.
meson_setup() {
    [ ! -e /etc/debian_version ] || set -- "--libdir=lib/$(cc -print-multiarch)" "$@"
    meson setup "$@"
}

# configure DIRECTORY MESON_OPTION...: makes the build directory unless it is there; looks again after packages were installed.
configure() {
    local dir=$1 log
    shift
    { mkdir -p "$dir" && [ -w "$dir" ]; } 2>/dev/null || die "$dir cannot be written to"
    if ! configured "$dir"; then
        rm -rf "$dir"
    elif [ $installed_any = yes ]; then
        set -- --reconfigure "$@"
    else
        return 0
    fi
    say "configuring ${dir#"$root"/}"
    mkdir -p "$dir"
    log=$dir.configure.log
    meson_setup "$@" "$dir" "$root" >"$log" 2>&1 </dev/null || { cat "$log" >&2; return 1; }
    rm -f "$log"
}

# build DIRECTORY TARGET...: says something only when there is something to do. One at a time: two runs may share the directory.
build() {
    local dir=$1
    shift
    (
        flock 9
        ninja -C "$dir" -n "$@" 2>/dev/null | grep -q 'no work to do' && exit 0
        say "building ${dir#"$root"/}"
        ninja --quiet -C "$dir" "$@" </dev/null >&2
    ) 9>"$dir/.quarry-lock"
}
