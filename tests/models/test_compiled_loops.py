"""What numba compiled is not taken from the disk when any of its sources has changed."""

import importlib
import re
import subprocess
import sys
from pathlib import Path

import pytest

import mobile_videogpt
from mobile_videogpt.models.compiled_loops import source_stamp

pytest.importorskip("numba")

LOW = "import numba\n\n@numba.njit(inline='always')\ndef change(x):\n    return x + {}\n"
HIGH = """
from mobile_videogpt.models.compiled_loops import compiled
from .low import change

@compiled
def loop(x):
    return change(x)
"""


@pytest.fixture
def package(tmp_path, monkeypatch) -> Path:
    """Two modules, one of which calls what stands in the other; a third beside them."""
    folder = tmp_path / "probe_of_loops"
    folder.mkdir()
    sources = {"__init__": "", "low": LOW.format(1), "high": HIGH, "other": "a = 1\n"}
    for name, text in sources.items():
        (folder / f"{name}.py").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path))
    yield folder
    for name in [name for name in sys.modules if name.split(".")[0] == folder.name]:
        del sys.modules[name]
    source_stamp.cache_clear()


def run(package: Path) -> tuple[str, str]:
    """What the loop makes of 0 in a process of its own, and how often the disk had it ready."""
    code = (
        f"from {package.name}.high import loop\nprint(loop(0), sum(loop.stats.cache_hits.values()))"
    )
    paths = [*sys.path, str(package.parent)]
    done = subprocess.run(
        [sys.executable, "-c", f"import sys; sys.path[:] = {paths!r}\n{code}"],
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    answer, hits = done.stdout.split()
    return answer, hits


def test_a_change_of_what_a_loop_calls_is_seen(package):
    assert run(package) == ("1", "0")
    assert run(package) == ("1", "1")
    (package / "low.py").write_text(LOW.format(2))
    assert run(package) == ("2", "0")


def stamp(package: Path) -> str:
    source_stamp.cache_clear()
    return source_stamp(f"{package.name}.high")


def test_the_stamp_is_of_what_is_imported_and_nothing_else(package):
    importlib.import_module(f"{package.name}.high")
    first = stamp(package)
    (package / "other.py").write_text("a = 2\n")
    assert stamp(package) == first
    (package / "low.py").write_text(LOW.format(2))
    assert stamp(package) != first


def modules_of_loops() -> list[str]:
    """Every module of the package that has something compiled and kept."""
    root = Path(mobile_videogpt.__file__).parent
    paths = [
        p
        for p in root.rglob("*.py")
        if re.search("^@compiled|njit.*cache", p.read_text("utf-8"), re.M)
    ]
    return sorted(".".join(p.relative_to(root.parent).with_suffix("").parts) for p in paths)


@pytest.mark.parametrize("name", modules_of_loops())
def test_every_loop_that_is_kept_carries_the_stamp(name):
    loops = [
        value
        for value in vars(importlib.import_module(name)).values()
        if getattr(value, "__module__", "") == name and getattr(value, "targetoptions", None)
    ]
    kept = [loop for loop in loops if type(loop._cache).__name__ != "NullCache"]
    assert kept
    assert all(loop.__qualname__.endswith(source_stamp(name)) for loop in kept)
