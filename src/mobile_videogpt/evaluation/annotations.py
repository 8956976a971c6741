"""Annotation files as rows: where they may lie below a data folder, and how each kind is read.

JSON, JSON lines and CSV need nothing; parquet is read with pyarrow when it is installed.
"""

from __future__ import annotations

import csv
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from .task import AnnotationError, MissingDataError, Row


@dataclass(frozen=True)
class DataFolders:
    """The folders below a data folder in which one benchmark may lie.

    Args:
        data_dir: what the user named.
        names: folders of the benchmark, as people and the harness call them; where several are
            there, the first comes first. The data folder itself is always the last one.

    Raises:
        MissingDataError: there is no such data folder.
    """

    data_dir: Path
    names: tuple[str, ...]

    def __post_init__(self) -> None:
        if not self.data_dir.is_dir():
            raise MissingDataError(
                f"there is no folder {self.data_dir}; name the one that holds the benchmarks"
            )

    @cached_property
    def roots(self) -> list[Path]:
        """The folders that exist, each once."""
        named = [self.data_dir / name for name in self.names]
        return [*(folder for folder in named if folder.is_dir()), self.data_dir]

    def files(self, patterns: Iterable[str]) -> list[Path]:
        """The files of the first pattern that has any, in the first folder that has them."""
        for pattern in patterns:
            for root in self.roots:
                found = sorted(path for path in root.glob(pattern) if path.is_file())
                if found:
                    return found
        return []

    def place(self, candidates: Sequence[str]) -> Path:
        """The first candidate that exists; where none does, where the first one should be."""
        for candidate in candidates:
            for root in self.roots:
                if (root / candidate).exists():
                    return root / candidate
        return self.roots[0] / candidates[0]


def hub_patterns(repository: str, config: str, split: str) -> tuple[str, ...]:
    """Where a data set of the Hugging Face hub may lie: its cache, a copy of it, or an export.

    `repository` is a glob of the name without its owner, `config` a glob or "" for none.
    """
    folder = f"{config}/" if config else ""
    stem = f"{config}_{split}" if config else split
    return (
        f"hub/datasets--*--{repository}/snapshots/*/{folder}{split}-*.parquet",
        f"hub/datasets--*--{repository}/snapshots/*/data/{split}-*.parquet",
        f"{folder}{split}-*.parquet",
        f"data/{split}-*.parquet",
        f"{folder}{split}.parquet",
        *(f"hf_{stem}.{suffix}" for suffix in ("json", "jsonl", "parquet")),
        *(f"{stem}.{suffix}" for suffix in ("jsonl", "parquet")),
        *(f"{folder}{split}.{suffix}" for suffix in ("jsonl", "json")),
    )


def read_rows(paths: Iterable[Path]) -> list[Row]:
    """The rows of some files, one after the other.

    Raises:
        AnnotationError: a file is no list of objects in a format that is known.
    """
    return [row for path in paths for row in _rows(path)]


def read_json(path: Path) -> Any:
    """One JSON document.

    Raises:
        AnnotationError: it is none.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except ValueError as error:
        raise AnnotationError(f"{path} is not JSON ({error}); fetch it again") from error


def need(row: Row, *fields: str, source: str) -> None:
    """Check that a row has its fields.

    Raises:
        AnnotationError: one is missing; the message names those that are there.
    """
    missing = [field for field in fields if field not in row]
    if missing:
        raise AnnotationError(
            f"a row of {source} lacks {', '.join(missing)}; it has {', '.join(map(str, row))}"
        )


def _rows(path: Path) -> list[Row]:
    suffix = path.suffix.lower()
    if suffix == ".parquet":
        return _parquet_rows(path)
    if suffix == ".csv":
        with path.open(encoding="utf-8-sig", newline="") as file:
            return list(csv.DictReader(file))
    rows = _json_lines(path) if _holds_lines(path) else read_json(path)
    if isinstance(rows, list) and all(isinstance(row, dict) for row in rows):
        return rows
    raise AnnotationError(f"{path} is not a list of objects; is it another file of the benchmark?")


def _holds_lines(path: Path) -> bool:
    """Whether a file has one JSON object a line: some tools give such files the ending .json."""
    if path.suffix.lower() == ".jsonl":
        return True
    with path.open(encoding="utf-8-sig") as file:
        first = next((line.strip() for line in file if line.strip()), "")
    return first.startswith("{") and first.endswith("}")


def _json_lines(path: Path) -> list[Any]:
    rows = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig").splitlines(), start=1):
        if not line.strip():
            continue
        try:
            rows.append(json.loads(line))
        except ValueError as error:
            raise AnnotationError(f"line {number} of {path} is not JSON ({error})") from error
    return rows


def _parquet_rows(path: Path) -> list[Row]:
    try:
        import pyarrow.parquet  # type: ignore[import-untyped]
    except ImportError as error:
        raise AnnotationError(
            f"{path} is a parquet file, which needs pyarrow: pip install 'mobile-videogpt[eval]'"
        ) from error
    try:
        rows: list[Row] = pyarrow.parquet.read_table(path).to_pylist()
    except (pyarrow.ArrowException, OSError) as error:
        raise AnnotationError(f"{path} cannot be read as parquet ({error})") from error
    return rows
