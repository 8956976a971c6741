"""What the model's thread has to say, handed to the event loops in one call each."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from typing import Any

from mobile_videogpt.serving.errors import ApiError
from mobile_videogpt.serving.jobs import Event, Failed, Job

_Said = tuple[Job, Event | Callable[[], None]]


class Outbox:
    """Used by the model's thread."""

    def __init__(self) -> None:
        self._said: list[_Said] = []

    def say(self, job: Job, event: Event | Callable[[], None]) -> None:
        """Something happened to a job, or is to be called on its event loop."""
        self._said.append((job, event))

    def fail(self, job: Job, error: ApiError) -> None:
        """A job's last event."""
        self.say(job, job.on_prepared)
        self.say(job, Failed(error))

    def flush(self) -> None:
        """Hand over all that was said."""
        by_loop: dict[Any, list[_Said]] = {}
        for job, event in self._said:
            by_loop.setdefault(job.loop, []).append((job, event))
        self._said.clear()
        for loop, events in by_loop.items():
            with suppress(RuntimeError):  # the loop is closed: nobody listens
                loop.call_soon_threadsafe(_deliver, events)


def _deliver(events: list[_Said]) -> None:
    """On the event loop."""
    for job, event in events:
        if callable(event):
            event()
        elif not job.is_cancelled:
            job.events.put_nowait(event)
