# SPDX-License-Identifier: MIT
# Small guests under qemu: Debian's kernels without installing them, an initramfs whose first process (guest_init.c) runs a list of tests, and what
# its console says of each. Sourced after result.bash, with `dir` set to the folder everything is made in. Knows no architecture and no test:
# tests/integ/aarch64_guest and tests/numa/guests say what runs where.

need_to_boot() {
    need cpio command -v cpio
    need dpkg command -v dpkg-deb
}

# --- kernels: with package lists of their own, so that the machine's stay as they are ---

apt_of() {
    local arch=$1 command=$2
    shift 2
    "$command" -qq -o APT::Architecture="$arch" -o APT::Architectures="$arch" -o APT::Sandbox::User=root \
        -o Dir::State::lists="$dir/apt/lists" -o Dir::Cache="$dir/apt/cache" "$@"
}

# Newest package whose name matches.
kernel_package() { apt_of "$1" apt-cache search --names-only "$2" | cut -d' ' -f1 | sort -V | tail -1; }

# kernel_fetch ARCH NAME PATTERN: the kernel as $dir/kernel-NAME, unless it is there.
kernel_fetch() {
    local arch=$1 name=$2 package
    [ -e "$dir/kernel-$name" ] && return 0
    if [ ! -e "$dir/apt/updated" ]; then
        mkdir -p "$dir"/apt/{lists,cache/archives,debs}/partial
        apt_of "$arch" apt-get update </dev/null >&2
        touch "$dir/apt/updated"
    fi
    package=$(kernel_package "$arch" "$3")
    [ -n "$package" ] || return 1
    say "fetching $package"
    (cd "$dir/apt/debs" && apt_of "$arch" apt-get download "$package" >&2) || return 1
    dpkg-deb --fsys-tarfile "$dir/apt/debs/$package"_*.deb | tar -xO --wildcards './boot/vmlinuz-*' >"$dir/kernel-$name.part" || return 1
    rm -f "$dir/apt/debs/$package"_*.deb
    mv "$dir/kernel-$name.part" "$dir/kernel-$name"
}

# --- the initramfs ---

cpio_pack() { cpio -o -H newc -R 0:0 --quiet; }
# image_pack FOLDER: as $dir/image.cpio.
image_pack() { (cd "$1" && find . | cpio_pack) >"$dir/image.cpio"; }
# guest_pack TESTS: the image with a list of tests from stdin, as $dir/guest.cpio, and the list as $dir/tests. An initramfs may be several archives in a row.
guest_pack() {
    cat >"$dir/tests"
    (cd "$dir" && cpio_pack <<<tests | cat image.cpio - >guest.cpio)
}

# --- what the console says ---

# The END line's status of a test; 125 when the guest never came to it.
guest_status() { sed -n "s/^END $2 \([-0-9]*\) after .*/\1/p" "$1" | grep . || echo 125; }
guest_output() { sed -n "/^BEGIN $2\r*$/,/^END $2 /p" "$1"; }

# guest_boot LOG SECONDS QEMU...: boots until the guest is done; its first line, or the end of its console where it has none. A kernel that panics before
# its first process runs, as happens under emulation on a busy machine, says nothing of what is tested: it is booted again, twice at most.
guest_boot() {
    local log=$1 seconds=$2
    shift 2
    for _ in 1 2 3; do
        timeout "$seconds" "$@" -display none -monitor none -serial stdio -no-reboot -nic none </dev/null >"$log" 2>&1
        grep -qa '^GUEST [0-9]' "$log" || ! grep -qa 'Kernel panic' "$log" || continue
        break
    done
    grep -a '^GUEST [0-9]' "$log" || tail -20 "$log"
}

# guest_judge LOG KERNEL: a line for each test of $dir/tests, and what a failed one said.
guest_judge() {
    local log=$1 name status
    while read -r name _; do
        status=$(guest_status "$log" "$name")
        [ "$status" = 0 ] || [ "$status" = 77 ] || guest_output "$log" "$name" | grep -v '^ok' | tail -20 | sed 's/^/# /'
        result "$2: $name" "$status"
    done <"$dir/tests"
}

# figure NAME: of a report on stdin; figures that are 0 are left out of it.
figure() { awk -v name="$1" '$1 == name { figure = $2 } END { print figure + 0 }'; }

# mode_result KERNEL LOG TEST MODE: the test ran in this mode, and while it is a per-CPU one, nothing outside it. Of one thread alone that is exact until
# an id is drained: a thread that is moved to that id meanwhile works outside until the drain is over, which on a loaded machine may last as long as it
# likes; most of the work is never there.
mode_result() {
    local output outside_max=0 good=1
    output=$(guest_output "$2" "$3")
    [ "$(figure drains <<<"$output")" -eq 0 ] || outside_max=$(($(figure slow_frees <<<"$output") / 2))
    grep -q "per-CPU mode $4\b" <<<"$output" && good=0
    [ "$4" = locked ] || [ "$(figure fallback_ops <<<"$output")" -le $outside_max ] || good=1
    [ $good = 0 ] || printf '%s\n' "$output" | grep -E 'per-CPU mode|fallback_ops|drains|FAILED' | sed 's/^/# /'
    result "$1: $3 is $4" $good
}
