#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""meson install puts the files of installed.txt in place, programs are linked with them by pkg-config, run once ldconfig has looked, and not
before, as README says, and uninstall leaves nothing, not even a folder: install.py BUILD_DIR. The build directory's own record of an
installation is kept. The system's cache of libraries is not touched: the programs see one of their own in its place."""
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

from golden import HERE, compare


def quiet(*command, **more):
    done = subprocess.run(command, capture_output=True, text=True, check=False, **more)
    if done.returncode != 0:
        sys.exit(f"FAIL {' '.join(map(str, command))}\n{done.stdout}{done.stderr}")
    return done.stdout


def installed(dest):
    """Files below dest, by their place under the prefix; the architecture's folder is left out."""
    names = [str(path.relative_to(dest)) for path in dest.rglob("*") if not path.is_dir()]
    names = [re.sub(r"^.*?(?=(bin|lib|lib64|include|share)/)", "", name, count=1) for name in names]
    return sorted(re.sub(r"^lib(64)?/(\w+-linux-\w+/)?", "lib/", name) for name in names)


def run_with_cache(cache, program):
    """In a mount namespace of its own. None where there is none to be had."""
    swap = 'mount --bind "$1" /etc/ld.so.cache 2>/dev/null || exit 125; exec "$2"'
    env = {name: value for name, value in os.environ.items() if name not in ("LD_LIBRARY_PATH", "LD_PRELOAD")}
    try:
        ran = subprocess.run(["unshare", "-rm", "sh", "-c", swap, "sh", cache, program], env=env, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return None
    return None if ran.returncode == 125 or "unshare" in ran.stderr else ran


def run_installed(program, lib, folder):
    """What the program says when the loader knows the installed libraries by its cache, as after ldconfig; it must not know them before."""
    ldconfig = shutil.which("ldconfig", path=os.environ.get("PATH", "") + ":/usr/sbin:/sbin")
    before, after = os.path.join(folder, "cache-before"), os.path.join(folder, "cache-after")
    if ldconfig is None:
        sys.exit("FAIL: there is no ldconfig")
    quiet(ldconfig, "-X", "-C", before)
    quiet(ldconfig, "-X", "-C", after, lib)
    early, ran = run_with_cache(before, program), run_with_cache(after, program)
    if early is None or ran is None:
        print("no mount namespace: the libraries are found by LD_LIBRARY_PATH instead of ldconfig's cache")
        return quiet(program, env=dict(os.environ, LD_LIBRARY_PATH=str(lib)))
    if early.returncode == 0 and not quarry_is_on_system(before, ldconfig):
        sys.exit("FAIL: the program ran before ldconfig knew its library")
    if ran.returncode != 0:
        sys.exit(f"FAIL: after ldconfig {program} ends with {ran.returncode}: {ran.stderr}")
    return ran.stdout


def quarry_is_on_system(cache, ldconfig):
    return "libquarry" in quiet(ldconfig, "-C", cache, "-p")


def link_by_pkg_config(dest, folder):
    pc = next(dest.rglob("quarry.pc"))
    env = dict(os.environ, PKG_CONFIG_PATH=str(pc.parent), PKG_CONFIG_SYSROOT_DIR=str(dest))
    flags = quiet("pkg-config", "--cflags", "--libs", "quarry", env=env).split()
    kmem_flags = quiet("pkg-config", "--cflags", "--libs", "quarry-kmem", env=env).split()
    program = os.path.join(folder, "program")
    quiet("gcc", "-pthread", HERE / "link_main.c", "-o", program, *flags)
    lib = next(dest.rglob("libquarry.so")).parent
    if not run_installed(program, lib, folder).startswith("quarry "):
        sys.exit("FAIL: the installed library is not the program's malloc")
    module = os.path.join(folder, "module")
    quiet("gcc", HERE.parent / "kernel" / "module.c", "-o", module, *kmem_flags)
    if "large: qqLL\n" not in run_installed(module, lib, folder):
        sys.exit("FAIL: kernel-style code does not run on the installed headers and library")
    if not quiet(next(dest.rglob("bin/quarry")), "version").startswith("quarry "):
        sys.exit("FAIL: the installed command does not run")


def main():
    args = [a for a in sys.argv[1:] if a != "--update"]
    build = pathlib.Path(args[0]).resolve()
    record = build / "meson-logs" / "install-log.txt"
    with tempfile.TemporaryDirectory() as folder:
        dest = pathlib.Path(folder) / "dest"
        kept = pathlib.Path(folder) / "install-log.txt"
        if record.exists():
            shutil.copy2(record, kept)
        try:
            quiet("meson", "install", "-C", build, "--no-rebuild", "--destdir", dest)
            names = installed(dest)
            link_by_pkg_config(dest, folder)
            quiet("meson", "--internal", "uninstall", cwd=build)
            left = list(dest.rglob("*")) + ([dest] if dest.exists() else [])
        finally:
            record.unlink(missing_ok=True)
            if kept.exists():
                shutil.copy2(kept, record)
        if left:
            sys.exit("FAIL: uninstall left " + ", ".join(str(path.relative_to(folder)) for path in left))
    compare("installed.txt", "\n".join(names) + "\n", "--update" in sys.argv[1:])


if __name__ == "__main__":
    main()
