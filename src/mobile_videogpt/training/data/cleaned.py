"""The usable part of a checked data set, as annotations that training reads."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

import yaml

from ..files import write_text
from .check import CheckResult
from .convert import write_annotations
from .mixture_file import SourceConfig, is_mixture_file


def write_cleaned(result: CheckResult, folder: Path) -> Path | None:
    """Write what may be trained on and return the file to train from.

    For an annotation file: `cleaned.json` in LLaVA's layout (or messages, where an entry needs it).
    For a mixture: `cleaned.yaml` with the same weights and prompts, and its sources in `cleaned`.
    None if nothing is usable.
    """
    if not result.usable:
        return None
    if not is_mixture_file(result.config.path):
        target = folder / "cleaned.json"
        _write_source(result, result.config.sources[0], target)
        return target
    sources = []
    for number, source in enumerate(result.config.sources, start=1):
        name = f"{number:02d}-{re.sub(r'[^0-9A-Za-z._-]+', '_', source.name)}.json"
        if _write_source(result, source, folder / "cleaned" / name):
            sources.append({**_settings(source), "annotations": f"cleaned/{name}"})
    document = {**_mixture_settings(result), "sources": sources}
    text = yaml.safe_dump(document, allow_unicode=True, sort_keys=False)
    write_text(folder / "cleaned.yaml", f"# Made by `mobile-videogpt data check`.\n{text}")
    return folder / "cleaned.yaml"


def _write_source(result: CheckResult, source: SourceConfig, target: Path) -> int:
    records = list(result.clean_records(source.name))
    # LLaVA's layout has one start and end for all files of an entry.
    needs_messages = any(len({(m.start, m.end) for m in record.media}) > 1 for record in records)
    if not records:
        return 0
    return write_annotations(records, target, "messages" if needs_messages else "llava")


def _settings(source: SourceConfig) -> dict[str, Any]:
    """What a source's YAML says beside its files."""
    settings: dict[str, Any] = {"name": source.name}
    for field in ("count", "weight"):
        if getattr(source, field) is not None:
            settings[field] = getattr(source, field)
    if source.repeat != 1:
        settings["repeat"] = source.repeat
    if source.template != "{question}":
        settings["prompt"] = {"template": source.template}
    if source.system is not None:
        settings["system"] = source.system
    return settings


def _mixture_settings(result: CheckResult) -> dict[str, Any]:
    config = result.config
    settings: dict[str, Any] = {"name": config.name, "seed": config.seed}
    if not config.shuffle:
        settings["shuffle"] = False
    if config.samples_per_epoch is not None:
        settings["samples_per_epoch"] = config.samples_per_epoch
    return settings


def output_folder(config: Path) -> Path:
    """Where a check writes unless told otherwise: beside where it was started."""
    return Path(os.curdir) / f"{config.stem}.check"
