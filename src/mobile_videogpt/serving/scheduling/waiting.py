"""Who waits for the model, and who is next: clients in turn, each one's requests in order."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator

from mobile_videogpt.serving.jobs import Job


class WaitingLine:
    """Jobs by arrival; the scheduler's lock guards it."""

    def __init__(self) -> None:
        self._jobs: list[Job] = []

    def __len__(self) -> int:
        return len(self._jobs)

    def __iter__(self) -> Iterator[Job]:
        return iter(self._jobs)

    def add(self, job: Job) -> None:
        """Stand in line."""
        self._jobs.append(job)

    def take(
        self, busy: Counter[str], room: int, may_go: Callable[[Job], bool] = lambda job: True
    ) -> Job | None:
        """The next job: the earliest of the client who has the fewest answers under way.

        Nobody overtakes a job that is next and waits for room, or it might wait for ever.

        Args:
            busy: answers under way by client.
            room: answers that may be begun.
            may_go: who is considered.

        Returns:
            None if nobody waits, or there is no room for all answers of who is next.
        """
        first: dict[str, Job] = {}
        for job in filter(may_go, self._jobs):
            first.setdefault(job.owner, job)
        if not first:
            return None
        chosen = min(first.values(), key=lambda job: busy[job.owner])  # the earliest of equals
        if len(chosen.order.answers) > room:
            return None
        self._jobs.remove(chosen)
        return chosen

    def remove(self, is_lost: Callable[[Job], bool]) -> list[Job]:
        """Those that are lost, who leave the line."""
        lost = [job for job in self._jobs if is_lost(job)]
        if lost:
            self._jobs = [job for job in self._jobs if job not in lost]
        return lost
