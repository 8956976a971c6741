"""A video and the stretch of it to look at, for lists of videos whose stretches differ."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class VideoPart:
    """What `VideoChat.open` takes, as one value; see there."""

    source: Any
    start: float | None = None
    end: float | None = None
    fps: float | None = None
