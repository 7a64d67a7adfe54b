# SPDX-License-Identifier: MIT
# How a test that is a script says what came of it: TAP without numbers, and a last line that .ci/run counts. Also what it needs installed. Sourced,
# with `root` set to the top of the tree.

. "$root/tools/common.bash"

failed=0 passed=0 skipped=0

skip() { say "skipped: $*"; exit 77; }
# result NAME STATUS [WANTED]: one line; STATUS 77 is a skip.
result() {
    if [ "$2" = "${3:-0}" ]; then
        passed=$((passed + 1)); echo "ok - $1"
    elif [ "$2" = 77 ]; then
        skipped=$((skipped + 1)); echo "ok - $1 # SKIP"
    else
        failed=$((failed + 1)); echo "not ok - $1 (status $2)"
    fi
}
finish() {
    echo "1..$((passed + failed + skipped))"
    echo "$passed passed, $failed failed, $skipped skipped"
    [ "$failed" = 0 ] && [ "$passed" -gt 0 ]
}

# Installs what need() named, or leaves the test as skipped.
packages_or_skip() {
    [ ${#missing[@]} = 0 ] || (install_missing) || skip "these packages cannot be had: ${missing[*]}"
    missing=()
}
