"""What can be timed, and how a name becomes one."""

from __future__ import annotations

from importlib import import_module
from typing import Any, Protocol

from mobile_videogpt.benchmark.settings import PEERS, Settings


class NotOfferedError(RuntimeError):
    """This contestant cannot run here (a package is missing, an option not there yet): says why."""


class Contestant(Protocol):
    """A model that answers a question about a clip, timed from outside.

    Made as `Class(settings)` in a process of its own, then `load`, `warm_up`, `run` any number of
    times, and `extras` at most once. A peer's class is named in `settings.PEERS`.
    """

    def load(self) -> dict[str, Any]:
        """Build the model; plain facts about it (`dtype`, `parameters`, `visual_tokens`, ...).

        Raises:
            NotOfferedError: it cannot run here.
        """

    def warm_up(self) -> None:
        """Touch everything once; may look at fewer frames than `run`."""

    def run(self) -> dict[str, float]:
        """One measured run; seconds end in `_s`, rates in `_tok_s`.

        A whole model reports at least `ttft_s` (file to first token), `vision_s` and
        `decode_tok_s`; a language model alone `prefill_s`, `prefill_tokens` and `decode_tok_s`.
        """

    def extras(self) -> dict[str, Any]:
        """What is measured once, after the runs; empty if there is nothing."""


def make_contestant(settings: Settings) -> Contestant:
    """The contestant that `settings.kind` names.

    Raises:
        ValueError: there is none of that name.
    """
    if settings.kind == "ours":
        from mobile_videogpt.benchmark.ours import OurModel

        return OurModel(settings)
    if settings.kind not in PEERS:
        raise ValueError(f"unknown peer {settings.kind!r}; choose one of {', '.join(PEERS)}")
    module, _, name = PEERS[settings.kind].rpartition(".")
    return getattr(import_module(f"mobile_videogpt.benchmark.peers.{module}"), name)(settings)
