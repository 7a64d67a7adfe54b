#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""Another project has quarry as a Meson subproject, shared and static, and programs that name no function of malloc's are served:
subproject.py SOURCE_ROOT. With SOAK alone: the library is compiled twice."""
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile

from golden import STATUS_SKIP
from link import LITTLE, served

PROJECT = f"""project('other', 'c')
executable('little', '{LITTLE}', dependencies: dependency('quarry', fallback: 'quarry'))
"""


def built(folder, kind):
    """The program, by the fallback: PKG_CONFIG_LIBDIR hides a quarry that is installed."""
    project, build = pathlib.Path(folder), os.path.join(folder, kind)
    env = dict(os.environ, PKG_CONFIG_LIBDIR=folder, PKG_CONFIG_PATH="")
    for command in (["meson", "setup", f"-Ddefault_library={kind}", build, str(project)], ["ninja", "-C", build, "little"]):
        done = subprocess.run(command, env=env, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            sys.exit(f"FAIL {kind}: {' '.join(command)}\n{done.stdout[-4000:]}{done.stderr}")
    return os.path.join(build, "little")


def main():
    if not os.environ.get("SOAK") or not shutil.which("meson"):
        sys.exit(STATUS_SKIP)
    root, failed = pathlib.Path(sys.argv[1]).resolve(), 0
    with tempfile.TemporaryDirectory() as folder:
        (pathlib.Path(folder) / "subprojects").mkdir()
        (pathlib.Path(folder) / "subprojects" / "quarry").symlink_to(root)
        (pathlib.Path(folder) / "meson.build").write_text(PROJECT)
        for kind in "shared", "static":
            good, ran = served(built(folder, kind))
            print(f"{'ok  ' if good else 'FAIL'} {kind}: status {ran.returncode}, {ran.stdout}{ran.stderr}")
            failed += not good
    sys.exit(1 if failed else 0)


if __name__ == "__main__":
    main()
