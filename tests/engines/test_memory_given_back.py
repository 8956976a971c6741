"""Pages of files that were read go back, and what is in them stays right."""

import mmap
import sys

import numpy as np
import pytest

from mobile_videogpt.engines.memory import forget_array, forget_file, give_memory_back

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's own calls")


def resident_kb(name):
    """Memory that the mappings of a file take."""
    total, is_it = 0, False
    with open("/proc/self/smaps") as lines:
        for line in lines:
            if "-" in line.split()[0]:
                is_it = name in line
            elif line.startswith("Rss:") and is_it:
                total += int(line.split()[1])
    return total


def test_a_file_that_was_read_is_forgotten_and_can_be_read_again(tmp_path):
    content = bytes(range(256)) * 40_000  # 10 MB
    (tmp_path / "weights.data").write_bytes(content)
    with (
        (tmp_path / "weights.data").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped,
    ):
        assert mapped[:] == content
        assert resident_kb("weights.data") > 9_000
        forget_file("other")
        assert resident_kb("weights.data") > 9_000
        forget_file("weights.data")
        assert resident_kb("weights.data") < 1_000
        assert mapped[:] == content


def test_what_was_written_stays(tmp_path):
    (tmp_path / "notes.data").write_bytes(bytes(1 << 20))
    with (
        (tmp_path / "notes.data").open("rb") as file,
        mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_COPY) as mapped,
    ):
        mapped[5] = 7
        forget_file("notes.data")
        assert mapped[5] == 7


def test_arrays_of_a_file_are_forgotten_and_others_are_left_alone(tmp_path):
    content = np.arange(1 << 20, dtype=np.int32)
    content.tofile(tmp_path / "levels.data")
    mapped = np.memmap(tmp_path / "levels.data", np.int32, "r")[5:]
    assert mapped.sum() and resident_kb("levels.data") > 3_000
    forget_array(mapped)
    assert resident_kb("levels.data") < 1_000
    assert (mapped == content[5:]).all()
    changed = np.memmap(tmp_path / "levels.data", np.int32, "c")
    changed[:] = 3
    own = np.full(1 << 20, 7)
    for array in (changed, own):
        forget_array(array)
    assert (changed == 3).all() and (own == 7).all()


def test_libraries_that_are_forgotten_still_work():
    import math

    forget_file("libpython")
    forget_file("libc.so")
    forget_file("libm.so")
    assert math.cos(0.0) == 1.0 and sorted([3, 1, 2]) == [1, 2, 3]


def test_freed_memory_can_be_given_back_at_any_time():
    give_memory_back()
    blocks = [bytes(100_000) for _ in range(100)]
    del blocks
    give_memory_back()
