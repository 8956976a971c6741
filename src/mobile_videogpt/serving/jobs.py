"""A completion on its way through the server, and what it says on the way."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from mobile_videogpt.engines.base import GenerationOptions
from mobile_videogpt.processor.messages import Message
from mobile_videogpt.serving.errors import ApiError

if TYPE_CHECKING:
    from mobile_videogpt.chat import EncodedVideo
    from mobile_videogpt.chat.vision import IdentifiedClip
    from mobile_videogpt.serving.structured import OptionForm


@dataclass
class HeldVideo:
    """A video of a request: decoded at first, encoded once the model has seen it."""

    clip: IdentifiedClip | None
    """With its pixels."""
    small_frames: list[np.ndarray]
    """Enough to show them."""
    encoded: EncodedVideo | None = None

    @property
    def is_read(self) -> bool:
        """Whether the language model has read it, too: a question about it is quick."""
        return self.encoded is not None and self.encoded.prefix is not None


@dataclass(frozen=True)
class Order:
    """What a client wants of the model."""

    messages: tuple[Message, ...]
    """Their `videos` hold one None for each video."""
    answers: tuple[GenerationOptions, ...]
    """One per answer that is written."""
    stop: tuple[str, ...] = ()
    form: OptionForm | None = None
    """Filled in by likelihood instead of writing."""


@dataclass(frozen=True)
class Started:
    """The prompt is read."""

    prompt_tokens: int
    cached_tokens: int
    videos: tuple[dict[str, Any], ...]
    """Of each: times, scores and kept frames, and whether it was encoded before."""
    frames: tuple[Sequence[np.ndarray], ...] = ()
    """Of each: the sampled frames, small."""


@dataclass(frozen=True)
class Piece:
    """More of one answer's text."""

    index: int
    text: str


@dataclass(frozen=True)
class Ended:
    """One answer is complete."""

    index: int
    reason: str
    """"stop" or "length"."""
    tokens: int


@dataclass(frozen=True)
class Finished:
    """All answers are; what it took."""

    timings: dict[str, float]


@dataclass(frozen=True)
class Failed:
    """There will be no more."""

    error: ApiError


Event = Started | Piece | Ended | Finished | Failed


@dataclass(eq=False)
class Job:
    """One completion.

    Made on the event loop; the scheduler's thread reads it and puts events into it.
    """

    order: Order
    videos: Sequence[HeldVideo]
    deadline: float
    """On the clock of `time.monotonic`."""
    owner: str = ""
    """Who asks: clients take turns."""
    on_prepared: Callable[[], None] = lambda: None
    """Called on the event loop once no frame of it waits any more."""
    is_cancelled: bool = False
    loop: asyncio.AbstractEventLoop = field(default_factory=asyncio.get_running_loop)
    events: asyncio.Queue[Event] = field(default_factory=asyncio.Queue)
    arrived: float = field(default_factory=time.monotonic)

    @property
    def is_lost(self) -> bool:
        """Whether nobody waits for it any more, or too long."""
        return self.is_cancelled or self.is_late

    @property
    def is_late(self) -> bool:
        """Whether its time is over."""
        return time.monotonic() > self.deadline
