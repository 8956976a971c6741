"""A first look at a video: everything that can be done before a question is there."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import aclosing
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from mobile_videogpt.processor.messages import Message
from mobile_videogpt.serving.errors import shutting_down
from mobile_videogpt.serving.jobs import Finished, Order, Started
from mobile_videogpt.serving.media import MediaRequest
from mobile_videogpt.serving.structured import choice_form

if TYPE_CHECKING:
    from mobile_videogpt.serving.service import Service

# A dialogue that begins with a video, and no answer to write: the model reads the prompt up to the
# question, and stops there.
_ORDER = Order((Message("user", "", (None,)),), answers=(), form=choice_form(["seen"]))


@dataclass(frozen=True)
class Look:
    """What the model saw."""

    video: dict[str, Any]
    """As answers tell it: times, scores and kept frames, and whether it was encoded before."""
    frames: Sequence[np.ndarray]
    """The sampled frames, small; uint8 (H, W, 3)."""
    prompt_tokens: int
    """Read already: the next question need not."""
    timings: dict[str, float]


async def look(service: Service, media: MediaRequest, owner: str, deadline: float) -> Look:
    """Decode and encode a video, and have the language model read it.

    Args:
        service: whose model looks.
        media: one video.
        owner: whose uploads may be named.
        deadline: on the clock of `time.monotonic`.

    Raises:
        ApiError: the video cannot be read, or there is no time for it.
    """
    started: Started | None = None
    timings: dict[str, float] = {}
    async with aclosing(service.run(_ORDER, [media], owner, deadline)) as events:  # type: ignore[type-var]
        async for event in events:
            if isinstance(event, Started):
                started = event
            elif isinstance(event, Finished):
                timings = event.timings
    if started is None:
        raise shutting_down()
    return Look(started.videos[0], started.frames[0], started.prompt_tokens, timings)
