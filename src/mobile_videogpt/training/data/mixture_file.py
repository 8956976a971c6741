"""The YAML of a mixture, checked field by field; see `mixture` for what it means."""

from __future__ import annotations

import math
import os
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import yaml

from .annotations import LAYOUTS, Layout
from .records import DataError

_SUFFIXES = frozenset({".yaml", ".yml"})
_TOP_FIELDS = frozenset({"name", "root", "seed", "shuffle", "samples_per_epoch", "sources", "note"})
_PROMPT_FIELDS = frozenset({"prefix", "suffix", "template"})


@dataclass(frozen=True)
class SourceConfig:
    """One source of a mixture.

    Attributes:
        name: unique in the mixture.
        annotations: the file.
        media_root: what its media paths start from; None for the file's folder.
        layout: of the file; see `annotations`.
        repeat: how often an epoch holds the file; fractions allowed.
        count: or how many of its records an epoch holds.
        weight: or its part of the samples that counts and repeats leave over.
        template: how a user turn is asked; "{question}" stands for what the file says.
        system: the system message of records that have none.
        note: for readers: where it comes from.
    """

    name: str
    annotations: Path
    media_root: Path | None = None
    layout: Layout = "auto"
    repeat: float = 1.0
    count: int | None = None
    weight: float | None = None
    template: str = "{question}"
    system: str | None = None
    note: str = ""

    def ask(self, question: str) -> str:
        """A user turn's text in the source's template; a question may hold braces."""
        return self.template.replace("{question}", question)


@dataclass(frozen=True)
class MixtureConfig:
    """A mixture's fields; `samples_per_epoch` is only needed with weights."""

    path: Path
    name: str
    sources: tuple[SourceConfig, ...]
    seed: int = 0
    shuffle: bool = True
    samples_per_epoch: int | None = None


def is_mixture_file(path: Path) -> bool:
    """Whether the name is that of a mixture, not of an annotation file."""
    return path.suffix.lower() in _SUFFIXES


def read_mixture_config(path: Path, *, root: str | Path | None = None) -> MixtureConfig:
    """Read the YAML; raises `DataError` naming the file, the source and the field."""
    raw = _read_yaml(path)
    _refuse_unknown(str(path), raw, _TOP_FIELDS)
    listed = raw.get("sources")
    if not isinstance(listed, list) or not listed:
        raise DataError(f"{path} needs a list `sources` with at least one annotation file.")
    base = path.parent / _path(raw.get("root") or ".") if root is None else Path(root)
    sources = tuple(_source(path, base, number, item) for number, item in enumerate(listed, 1))
    names = [source.name for source in sources]
    twice = next((name for name in names if names.count(name) > 1), None)
    if twice is not None:
        raise DataError(f"{path} has two sources named {twice!r}: give each its own name.")
    return MixtureConfig(
        path=path,
        name=str(raw.get("name") or path.stem),
        sources=sources,
        seed=_whole(f"{path}: seed", raw.get("seed", 0)),
        shuffle=_flag(f"{path}: shuffle", raw.get("shuffle", True)),
        samples_per_epoch=_samples_per_epoch(path, raw, sources),
    )


def _read_yaml(path: Path) -> dict[str, Any]:
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise DataError(f"No mixture at {path}: check its path.") from None
    except (OSError, UnicodeDecodeError, yaml.YAMLError) as error:
        message = " ".join(str(error).split())
        raise DataError(f"{path} cannot be read as YAML: {message}.") from None
    if not isinstance(raw, dict):
        raise DataError(f"{path} must hold a mapping with `sources`, not {type(raw).__name__}.")
    return raw


def _source(path: Path, base: Path, number: int, item: Any) -> SourceConfig:
    if isinstance(item, str):
        item = {"annotations": item}
    if not isinstance(item, dict) or not item.get("annotations"):
        raise DataError(f"{path}: source {number} needs `annotations`, the name of a file.")
    annotations = base / _path(item["annotations"])
    name = str(item.get("name") or annotations.stem)
    where = f"{path}: source {name}"
    _refuse_unknown(where, item, {field.name for field in fields(SourceConfig)} | {"prompt"})
    given = [field for field in ("repeat", "count", "weight") if item.get(field) is not None]
    if len(given) > 1:
        raise DataError(f"{where} has both {given[0]} and {given[1]}: give one of them.")
    layout = item.get("layout", "auto")
    if layout not in LAYOUTS:
        raise DataError(f"{where}: layout {layout!r} is unknown: use {', '.join(LAYOUTS)}.")
    media_root = item.get("media_root")
    count, weight = item.get("count"), item.get("weight")
    return SourceConfig(
        name=name,
        annotations=annotations,
        media_root=None if media_root is None else base / _path(media_root),
        layout=layout,
        repeat=_number(f"{where}: repeat", item.get("repeat", 1.0)),
        count=None if count is None else _whole(f"{where}: count", count),
        weight=None if weight is None else _number(f"{where}: weight", weight),
        template=_template(where, item),
        system=None if item.get("system") is None else str(item["system"]),
        note=str(item.get("note") or ""),
    )


def _template(where: str, item: dict[str, Any]) -> str:
    prompt = item.get("prompt", item.get("template"))
    if prompt is None:
        return "{question}"
    if isinstance(prompt, str):
        prompt = {"template": prompt}
    if not isinstance(prompt, dict):
        raise DataError(f"{where}: prompt must be text or {{prefix, suffix, template}}.")
    _refuse_unknown(f"{where}: prompt", prompt, _PROMPT_FIELDS)
    middle = str(prompt.get("template", "{question}"))
    template = f"{prompt.get('prefix') or ''}{middle}{prompt.get('suffix') or ''}"
    if "{question}" not in template:
        raise DataError(f"{where}: the prompt's template lacks {{question}}.")
    return template


def _samples_per_epoch(
    path: Path, raw: dict[str, Any], sources: tuple[SourceConfig, ...]
) -> int | None:
    weights = [source.weight for source in sources if source.weight is not None]
    if weights and not sum(weights):
        raise DataError(f"{path}: all weights are 0: give at least one source a weight above 0.")
    if raw.get("samples_per_epoch") is None:
        return None
    if not weights:
        raise DataError(
            f"{path}: samples_per_epoch needs sources with a weight; counts and repeats already "
            "say how long an epoch is."
        )
    return _whole(f"{path}: samples_per_epoch", raw["samples_per_epoch"])


def _path(value: Any) -> Path:
    """A path as written, with ~ and variables such as $SCRATCH filled in."""
    return Path(os.path.expandvars(str(value))).expanduser()


def _refuse_unknown(where: str, given: dict[str, Any], known: set[str] | frozenset[str]) -> None:
    unknown = sorted(str(name) for name in given if name not in known)
    if unknown:
        raise DataError(
            f"{where} has the unknown field {unknown[0]!r}; known: {', '.join(sorted(known))}."
        )


def _whole(where: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise DataError(f"{where} is {value!r}: give a whole number, 0 or more.")
    return value


def _number(where: str, value: Any) -> float:
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    if not is_number or not math.isfinite(value) or value < 0:
        raise DataError(f"{where} is {value!r}: give a number, 0 or more.")
    return float(value)


def _flag(where: str, value: Any) -> bool:
    if not isinstance(value, bool):
        raise DataError(f"{where} is {value!r}: give true or false.")
    return value
