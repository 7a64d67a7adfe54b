# SPDX-License-Identifier: MIT
"""The machine a result belongs to, and the build of what is measured on it."""
import functools
import hashlib
import os
import pathlib
import platform
import subprocess
import sys
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
MIB = 1 << 20


def first_line(path, pattern=""):
    """What follows the last colon of the first line that holds the pattern."""
    try:
        lines = pathlib.Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return "unknown"
    return next((line.split(":")[-1].strip() for line in lines if pattern in line), "unknown")


def facts():
    """What a reader needs to judge a figure, in the order it is told."""
    system = first_line("/etc/os-release", "PRETTY_NAME").partition("=")[2].strip('"')
    return {
        "date": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
        "system": system or "unknown",
        "kernel": platform.release().partition("-")[0],
        "cpu": first_line("/proc/cpuinfo", "model name"),
        "cpus": os.cpu_count(),
        "memory_mib": os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // MIB,
        "thp": first_line("/sys/kernel/mm/transparent_hugepage/enabled"),
        "load_at_start": load(),
    }


def load():
    return round(os.getloadavg()[0], 2)


def thp_mode(text):
    """always, madvise or never, out of the kernel's "always [madvise] never"."""
    return text.partition("[")[2].partition("]")[0] or text


@functools.cache
def commit():
    """The commit of the tree when first asked, before the build, as it may move on during a run; with -dirty when files differ from it; "unknown" outside git."""
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return done.stdout.strip() or "unknown"


def file_identity(path):
    """Which file it is, wherever it lies: name and the first digits that sha256sum prints."""
    return f"{path.name} sha256 {hashlib.sha256(path.read_bytes()).hexdigest()[:12]}"


def common(script, *words):
    """Runs a line of bash with the functions of tools/common.bash; raises CalledProcessError."""
    subprocess.run(["bash", "-c", f'root=$0; . "$root/tools/common.bash"; {script}', str(ROOT), *words], check=True, stdout=sys.stderr)


def install(packages):
    """Installs Debian packages, as root or by sudo."""
    common('missing=("$@"); install_missing', *packages)


def build(build_dir, targets, keep_going=False):
    """Builds targets in a release build folder, which is set up when it is missing, after what it needs is installed; raises CalledProcessError."""
    if not (build_dir / "build.ninja").exists():
        common('need_to_build; install_missing; meson_setup "$@"', str(build_dir), str(ROOT), "--buildtype=release")
    words = ["-k", "0"] if keep_going else []
    subprocess.run(["ninja", "-C", str(build_dir), *words, *targets], check=True, stdout=sys.stderr)
