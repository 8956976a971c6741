"""Imports point down only: the rooms of the package, and who may import whom.

Read from the source by AST, so an import inside a function or under TYPE_CHECKING counts too.
docs/architecture.md draws the same table.
"""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = "mobile_videogpt"
SOURCE = Path(__file__).parent.parent / "src" / PACKAGE

# Lowest first. A room imports rooms of lower rows, never one of its own row or above.
ROWS = [
    {"config", "provenance", "files"},
    {"models", "video", "synthetic"},
    {"processor"},
    {"engines", "checkpoints"},
    {"chat"},
    {"training", "evaluation", "benchmark", "serving"},
    {"cli"},
    {"_registration"},
    {"__init__", "__main__"},
]
HEIGHT = {room: height for height, row in enumerate(ROWS) for room in row}
# Plain data of the package's front door, free for everybody.
FREE_NAMES = {"__version__"}


def room_of(path: Path) -> str:
    """The first part of a path below the package, without `.py`."""
    return path.relative_to(SOURCE).parts[0].removesuffix(".py")


def imported_modules(tree: ast.AST, module: str, is_package: bool) -> Iterator[str]:
    """Dotted names a module imports, relative ones made absolute.

    `from a import b` gives `a.b`: b may be a module, and a name of a leads to the same room.
    """
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = node.module or ""
            if node.level:
                parts = module.split(".")
                keep = len(parts) - node.level + (1 if is_package else 0)
                base = ".".join([*parts[:keep], base]).rstrip(".")
            yield from (f"{base}.{alias.name}" for alias in node.names)


def forbidden_edges(source: str, path: Path) -> list[str]:
    """What a file imports although its room may not: one sentence each."""
    room = room_of(path)
    parts = [PACKAGE, *path.relative_to(SOURCE).with_suffix("").parts]
    is_package = parts[-1] == "__init__"
    module = ".".join(parts[:-1] if is_package else parts)
    found = []
    for name in imported_modules(ast.parse(source), module, is_package):
        if name.split(".")[0] != PACKAGE:
            continue
        target = [*name.split("."), "__init__"][1]
        if target in FREE_NAMES:
            continue
        # A name that is no room is a public name, which the front door takes from chat or config.
        target = target if target in HEIGHT else "__init__"
        allowed = target == room or HEIGHT[target] < HEIGHT[room] or room == "cli"
        if not allowed:
            found.append(f"{path.relative_to(SOURCE)} ({room}) imports {name} ({target})")
    return found


def source_files() -> list[Path]:
    return sorted(SOURCE.rglob("*.py"))


def test_every_file_belongs_to_a_known_room():
    unknown = {room_of(path) for path in source_files()} - HEIGHT.keys() - {"assets"}
    assert not unknown, f"rooms without a row in ROWS: {sorted(unknown)}"


def test_no_import_points_up_or_sideways():
    found = []
    for path in source_files():
        if room_of(path) in HEIGHT:
            found += forbidden_edges(path.read_text(encoding="utf-8"), path)
    assert not found, "\n".join(found)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/projector.py", "from mobile_videogpt.chat import VideoChat"),
        ("models/projector.py", "from mobile_videogpt import VideoChat"),
        ("models/projector.py", "from mobile_videogpt import video"),
        ("models/projector.py", "from ..video.sampling import sample_frame_indices"),
        ("models/projector.py", "from .. import processor"),
        ("models/__init__.py", "from ..synthetic import make_clip"),
        ("engines/torch.py", "def f():\n    import mobile_videogpt.checkpoints"),
        ("training/stages.py", "from mobile_videogpt.evaluation.moving_shapes import evaluate"),
        ("config.py", "from .models import videomamba"),
    ],
)
def test_the_reader_sees_upward_and_sideways_edges(path: str, source: str):
    assert forbidden_edges(source, SOURCE / path)


@pytest.mark.parametrize(
    ("path", "source"),
    [
        ("models/projector.py", "from mobile_videogpt.config import MobileVideoGPTConfig"),
        ("models/projector.py", "from .selective_scan import selective_scan"),
        ("models/__init__.py", "from .projector import EfficientTokenProjector"),
        ("models/projector.py", "import torch\nfrom torch import nn"),
        ("chat.py", "from .engines import build_engine\nfrom .video.source import read_video"),
        ("cli/ask.py", "from mobile_videogpt import VideoChat, __version__"),
        ("checkpoints/load.py", "from mobile_videogpt import __version__"),
    ],
)
def test_the_reader_allows_downward_edges(path: str, source: str):
    assert forbidden_edges(source, SOURCE / path) == []
