#!/usr/bin/env python3
# SPDX-License-Identifier: MIT
"""In a set-user-ID program the environment must not steer the library; in an ordinary one it does.

Owns a set-user-ID copy of life_secure in a temporary directory, run as nobody. The witness is the complaint about an
option name that does not exist: an ordinary start prints it, a secure start must print nothing. Needs root;
otherwise only the ordinary start is checked and the rest skipped. Called by meson.
"""
import os
import shutil
import sys
import tempfile

sys.dont_write_bytecode = True
sys.path.insert(0, os.path.join(os.path.dirname(os.path.abspath(__file__)), "..", "support"))
import driver  # noqa: E402

NOBODY = 65534
WITNESS = {"QUARRY_NO_SUCH_OPTION": "1", "QUARRY_STATS": "short"}


def run(command, uid):
    return driver.run_child(command, driver.child_env([], WITNESS), 20, uid=uid)


def judge(report, name, out, secure, speaks):
    good = out.status == 0 and out.stdout == f"secure {secure}\n" and ("NO_SUCH_OPTION" in out.stderr) == speaks
    good = good and (speaks or not out.stderr)
    report.line(good, name)
    if not good:
        report.explain(f"{driver.describe_status(out)}\nstdout: {out.stdout}\nstderr: {out.stderr}")


def setuid_obstacle(directory, program, library):
    """Why a set-user-ID copy in directory cannot be tried, or None."""
    if os.geteuid() != 0:
        return "needs root to make a set-user-ID copy"
    if os.statvfs(directory).f_flag & os.ST_NOSUID:
        return f"{directory} is mounted nosuid"
    out = driver.run_child(["/usr/bin/test", "-r", library], driver.child_env([], {}), 20, uid=NOBODY)
    if out.status != 0:
        return f"nobody cannot read {library}"
    return None


def main():
    program, library = sys.argv[1:3]
    report = driver.Report()
    judge(report, "an ordinary start reads the environment", run([program], None), 0, True)
    with tempfile.TemporaryDirectory(prefix="quarry-secure-") as directory:
        os.chmod(directory, 0o755)
        obstacle = setuid_obstacle(directory, program, library)
        if obstacle:
            report.line(True, "a secure start ignores the environment", f" # SKIP {obstacle}")
            return report.finish()
        copy = os.path.join(directory, "life_secure")
        shutil.copyfile(program, copy)
        os.chmod(copy, 0o4755)
        judge(report, "a secure start ignores the environment", run([copy], NOBODY), 1, False)
    return report.finish()


if __name__ == "__main__":
    sys.exit(main())
