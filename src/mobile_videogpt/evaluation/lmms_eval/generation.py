"""The settings of a generation, from what a benchmark's YAML says to what `VideoChat.stream` takes.

Keys that mean nothing here (image_aspect_ratio and the like) are passed over: they address other
models. Beams are not: an answer from one beam is not what the task asked for, which is said once.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

logger = logging.getLogger(__name__)

# What the wrapper of the released model uses where a task says nothing.
DEFAULT_MAX_NEW_TOKENS = 16


@dataclass(frozen=True)
class Settings:
    """How one answer is generated."""

    options: dict[str, Any] = field(default_factory=dict)
    """Keyword arguments of `VideoChat.stream`."""
    stop: tuple[str, ...] = ()
    """The answer ends before the first of these texts."""


def read_settings(
    given: Mapping[str, Any], max_new_tokens: int = DEFAULT_MAX_NEW_TOKENS
) -> Settings:
    """Read a task's `generation_kwargs`; `max_new_tokens` is for tasks that do not say.

    >>> read_settings({"until": "\\n", "max_new_tokens": 8, "temperature": 0})
    Settings(options={'max_new_tokens': 8}, stop=('\\n',))
    """
    longest = given.get("max_new_tokens") or given.get("max_gen_toks") or max_new_tokens
    options: dict[str, Any] = {"max_new_tokens": int(longest)}
    temperature = given.get("temperature")
    if given.get("do_sample", True) and temperature:
        options |= {"do_sample": True, "temperature": float(temperature)}
        options |= {k: given[k] for k in ("top_k", "top_p", "seed") if given.get(k)}
    if given.get("repetition_penalty"):
        options["repetition_penalty"] = float(given["repetition_penalty"])
    if int(given.get("num_beams") or 1) > 1:
        _say_that_there_is_one_beam(int(given["num_beams"]))
    until = given.get("until") or ()
    stop = (until,) if isinstance(until, str) else tuple(until)
    return Settings(options, tuple(text for text in stop if text))


def cut(text: str, stop: Sequence[str]) -> str | None:
    """`text` up to the first stop text; None while there is none in it.

    >>> cut("left\\n\\nbecause", ["\\n\\n"])
    'left'
    """
    places = [place for place in map(text.find, stop) if place >= 0]
    return text[: min(places)] if places else None


@cache
def _say_that_there_is_one_beam(beams: int) -> None:
    logger.warning("the task asks for %d beams; answers are generated with one", beams)
