# SPDX-License-Identifier: MIT
"""The allocators to compare with: where Debian puts them, and which of them are here."""
import atexit
import dataclasses
import functools
import pathlib
import platform
import shutil
import subprocess
import tempfile

LIBRARY_DIR = pathlib.Path(f"/usr/lib/{platform.machine()}-linux-gnu")
SUBJECT = "quarry"
PLAIN = "glibc"


@dataclasses.dataclass(frozen=True)
class Allocator:
    name: str
    preload: str | None  # None: whatever the program has without preload
    origin: str          # the file malloc must come from
    package: str | None = None


@dataclasses.dataclass(frozen=True)
class Known:
    """A peer: its library, as a pattern below LIBRARY_DIR or an absolute one, and the package that brings it."""
    pattern: str
    package: str


KNOWN = {
    "glibc": Known("libc.so.6", "libc6"),
    "jemalloc": Known("libjemalloc.so.2", "libjemalloc2"),
    "mimalloc": Known("libmimalloc.so.2.0", "libmimalloc2.0"),
    "tcmalloc": Known("libtcmalloc_minimal.so.4", "libtcmalloc-minimal4"),
    "tbbmalloc": Known("libtbbmalloc_proxy.so.2", "libtbbmalloc2"),
    "scudo": Known("/usr/lib/llvm-14/lib/clang/14*/lib/linux/"
                   f"libclang_rt.scudo_standalone-{platform.machine()}.so", "libclang-rt-14-dev"),
}


def find(name):
    """The allocator of that name, or None when its package is not installed."""
    known = KNOWN[name]
    found = sorted(pathlib.Path("/").glob(str(LIBRARY_DIR / known.pattern).lstrip("/")))
    if not found:
        return None
    return Allocator(name, None if name == PLAIN else str(found[0]), found[0].name, known.package)


@functools.cache
def preloadable(path):
    """The path as LD_PRELOAD can carry it: the dynamic linker splits at blanks and colons, so a file below such a folder gets a link for this run."""
    if not set(str(path)) & set(" :"):
        return str(path)
    folder = tempfile.mkdtemp(prefix="quarry-bench-")
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    link = pathlib.Path(folder, path.name)
    link.symlink_to(path)
    return str(link)


def from_path(name, path):
    return Allocator(name, preloadable(path), path.name)


def package_version(package):
    try:
        done = subprocess.run(["dpkg-query", "-W", "-f", "${Version}", package], capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "unknown"
    return done.stdout if done.returncode == 0 and done.stdout else "unknown"
