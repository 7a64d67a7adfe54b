# SPDX-License-Identifier: MIT
"""A program that waits on its stdin while the quarry command looks at it from outside: starting, asking, ending. No test itself."""
import subprocess

import driver


def ask(tool, command, pid, *args, **options):
    """quarry COMMAND PID ARGS; a command of several words has its options before the process."""
    return subprocess.run([tool, *command.split(), str(pid), *args], capture_output=True, text=True, check=False,
                          timeout=60 * driver.PATIENCE, **options)


def popen(tool, command, pid):
    """The same, not waited for."""
    return subprocess.Popen([tool, command, str(pid)], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)


def start(libraries, *command, env=None, **options):
    """The child and the first line it says, which is when it is ready."""
    child = subprocess.Popen(command, env=driver.child_env(libraries, env or {}), stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
                             **options)
    return child, child.stdout.readline()


def end(child):
    try:
        child.stdin.close()
    except BrokenPipeError:
        pass
    child.stdout.close()
    return child.wait()


def other_build(library, magic, path):
    """A copy of a library at path whose constant of this magic number says another layout."""
    data = library.read_bytes()
    at = data.index(magic + bytes(8)) if magic + bytes(8) in data else data.index(magic)
    # magic, self, bytes, layout
    path.write_bytes(data[:at + 20] + b"\xff\xff\xff\xff" + data[at + 24:])
    return str(path)
