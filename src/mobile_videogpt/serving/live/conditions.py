"""When something is the case: an option's probability, held for several windows in a row."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Condition:
    """A question, and the answer that makes it true.

    Raises:
        ValueError: an answer is empty or stands on both sides, there is none to tell it from, or a
            number is out of its range.
    """

    question: str
    answer: str
    """What makes it true."""
    others: tuple[str, ...]
    """What else might be answered; the model chooses between all of them."""
    command: str | None = None
    """Run when it has become true."""
    least_probability: float = 0.5
    """Of the answer among all of them."""
    windows: int = 2
    """So many in a row must agree before it counts as true, or as no longer true."""
    again_after_s: float | None = None
    """While it stays true, run the command again after so many seconds; None: once."""

    def __post_init__(self) -> None:
        options = (self.answer, *self.others)
        if not self.question.strip() or not all(option.strip() for option in options):
            raise ValueError("a condition's question and answers must not be empty")
        if not self.others:
            raise ValueError(
                f"the answer {self.answer!r} has no other to tell it from; add --not ANSWER"
            )
        if len(set(options)) < len(options):
            raise ValueError(f"an answer stands twice in {', '.join(options)}; give each once")
        if not 0 < self.least_probability <= 1:
            raise ValueError(f"probability is {self.least_probability}; give 0 < P <= 1")
        if self.windows < 1:
            raise ValueError(f"windows is {self.windows}; give at least 1")

    @property
    def options(self) -> tuple[str, ...]:
        """All answers, in an order that does not favour the wanted one: alphabetic, yes first."""
        return tuple(sorted((self.answer, *self.others), key=lambda o: (o.lower() == "no", o)))


def other_answers(answer: str) -> tuple[str, ...]:
    """What else may be said to a question that `answer` answers: yes and no; nothing otherwise.

    >>> other_answers("yes"), other_answers("left")
    (('no',), ())
    """
    return {"yes": ("no",), "no": ("yes",)}.get(answer.lower(), ())


class Debounce:
    """Keeps a condition from flickering, and says when its command is due.

    Args:
        windows: so many in a row must agree before the state changes.
        again_after_s: due again after so many seconds while it stays true; None: never.
    """

    def __init__(self, windows: int, again_after_s: float | None = None) -> None:
        self._windows = windows
        self._again_after_s = again_after_s
        self._against = 0  # windows in a row that contradict the state
        self._last_due: float | None = None
        self.is_true = False

    def add(self, is_met: bool, seconds: float) -> bool:
        """Take in a window that ended at `seconds`; whether the command is due."""
        self._against = self._against + 1 if is_met != self.is_true else 0
        if self._against >= self._windows:
            self.is_true, self._against = is_met, 0
            if is_met:
                self._last_due = seconds
                return True
        if not (self.is_true and is_met) or self._again_after_s is None:
            return False
        assert self._last_due is not None
        if seconds - self._last_due < self._again_after_s:
            return False
        self._last_due = seconds
        return True
