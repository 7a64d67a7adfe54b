# SPDX-License-Identifier: MIT
"""The machine's pool of 2 MiB hugepages (hugetlbfs), made larger while a test runs.

Needs privileges and memory; who cannot have it skips. One test at a time, whoever else grows the pool: held by a lock on
the pool's own file. Called by tests that set the option hugetlb.
"""
import contextlib
import fcntl

POOL = "/sys/kernel/mm/hugepages/hugepages-2048kB/"


class Unavailable(Exception):
    """Why there is no pool to be had; a test says so and skips."""


def read(name):
    with open(POOL + name, encoding="ascii") as file:
        return int(file.read())


def write(pages):
    with open(POOL + "nr_hugepages", "w", encoding="ascii") as file:
        file.write(str(pages))


def free_pages():
    """Those nobody has, and for which nobody has asked."""
    return read("free_hugepages") - read("resv_hugepages")


@contextlib.contextmanager
def grown(pages):
    """Inside, exactly so many hugepages are free; afterwards the pool has its former size."""
    try:
        with open(POOL + "nr_hugepages", encoding="ascii") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            before = read("nr_hugepages")
            if free_pages() != 0:
                raise Unavailable("the pool is in use by others")
            try:
                write(before + pages)
                if free_pages() != pages:
                    raise Unavailable(f"{free_pages()} of {pages} hugepages are to be had")
                yield
            finally:
                write(before)
    except OSError as error:
        raise Unavailable(f"the pool cannot be changed here: {error.strerror}") from error
