"""Memory that is not needed any more goes back to the system before the next part takes its own.

Linux with glibc only; elsewhere these functions do nothing.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from mmap import PAGESIZE
from pathlib import Path
from typing import Any

import numpy as np

_DONTNEED = 4  # Linux's MADV_DONTNEED


def give_memory_back() -> None:
    """Return freed memory, which glibc keeps otherwise.

    Parts run one after the other, and what lies between two of them is of other sizes each time.
    """
    trim = getattr(_libc(), "malloc_trim", None)
    if trim is not None:
        trim(0)


def forget_file(name: str) -> None:
    """Let go of the pages that this process has read of a mapped file, which are not needed again.

    For weights that were packed into another form, and for a compiler that has done its work. Were
    a page read after all, the system would fetch it again. A mapping in which anything was written
    stays as it is, the addresses that the loader puts into a library, too.

    Args:
        name: how the file's name begins.
    """
    advise = getattr(_libc(), "madvise", None)
    if advise is None:
        return
    for start, end in _unwritten(name):
        advise(ctypes.c_void_p(start), ctypes.c_size_t(end - start), _DONTNEED)


def forget_array(array: np.ndarray) -> None:
    """Let go of the pages of an array that is mapped from a file, as `forget_file` does.

    An array that is no `np.memmap`, or may be written to, stays as it is.
    """
    advise = getattr(_libc(), "madvise", None)
    if advise is None or not isinstance(array, np.memmap) or array.flags.writeable:
        return
    first = -(-array.ctypes.data // PAGESIZE) * PAGESIZE
    last = (array.ctypes.data + array.nbytes) // PAGESIZE * PAGESIZE
    if last > first:
        advise(ctypes.c_void_p(first), ctypes.c_size_t(last - first), _DONTNEED)


def _unwritten(name: str) -> Iterator[tuple[int, int]]:
    """Where the mappings of a file lie in which every page is still the file's."""
    place = None
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        first, *rest = line.split(maxsplit=5)
        if not first.endswith(":"):  # a new mapping: place, permissions, three numbers, path
            place = first if len(rest) == 5 and Path(rest[4]).name.startswith(name) else None
        elif place and first == "Anonymous:" and rest[0] == "0":
            start, end = (int(number, 16) for number in place.split("-"))
            yield start, end


def _libc() -> Any:
    return ctypes.CDLL(None) if sys.platform == "linux" else None
