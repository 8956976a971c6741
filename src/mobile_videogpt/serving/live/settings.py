"""What is watched for, and how often."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mobile_videogpt.serving.live.conditions import Condition


@dataclass(frozen=True)
class WatchSettings:
    """How a source is watched.

    Raises:
        ValueError: they contradict each other.
    """

    questions: tuple[str, ...] = ()
    """Asked about each window, in this order."""
    conditions: tuple[Condition, ...] = ()
    """Looked for in each window."""
    window_s: float = 8.0
    """The answers are about the last so many seconds."""
    every_s: float | None = 4.0
    """Seconds from one window to the next; None: only when the scene changes."""
    on_change: bool = False
    """Whether a change of the scene is a reason to ask."""
    settle_s: float | None = None
    """How long after a change the question is asked; a quarter of the window if None."""
    stop_after_s: float | None = None
    """Watch for so long; None: until the source ends."""
    generation: Mapping[str, Any] = field(default_factory=dict)
    """Options of `VideoChat.ask`."""

    def __post_init__(self) -> None:
        if not (self.questions or self.conditions):
            raise ValueError("there is nothing to ask; give a question or a condition")
        if self.every_s is None and not self.on_change:
            raise ValueError("there is no occasion to ask; give seconds, or ask on changes")

    @property
    def wait_after_change_s(self) -> float:
        """How long after a change the question is asked."""
        return self.window_s / 4 if self.settle_s is None else self.settle_s
