"""Clips for who has no video at hand: MovingShapes, drawn by the server when first asked for."""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from mobile_videogpt.synthetic import Clip, make_clip
from mobile_videogpt.synthetic.captions import describe
from mobile_videogpt.synthetic.dataset import clip_questions, write_clip

# Of the split that no training sees; chosen for variety: what moves, meets, appears, changes.
_SPLIT = "test"
_QUESTIONS = 4


@dataclass(frozen=True)
class Example:
    """One clip."""

    name: str
    """Of its file."""
    title: str
    seed: int

    def document(self, base: str) -> dict[str, Any]:
        """What the page shows of it: also what really happens, which only its maker knows.

        Args:
            base: address of the folder with the clips.
        """
        clip = self.clip()
        asked = [question for question in clip_questions(clip) if not question.needs_options]
        questions = dict.fromkeys(question.text for question in asked if not question.history)
        return {
            "name": self.name,
            "title": self.title,
            "url": f"{base}/{self.name}",
            "truth": describe(clip),
            "questions": list(questions)[:_QUESTIONS],
        }

    def clip(self) -> Clip:
        """The script that it is drawn from."""
        return make_clip(self.seed, _SPLIT)


EXAMPLES = (
    Example("bounce-and-vanish.mp4", "Bounce and vanish", 3),
    Example("a-push.mp4", "A push", 4),
    Example("round-and-round.mp4", "Round and round", 30),
    Example("a-turn.mp4", "A turn", 8),
    Example("changing-colours.mp4", "Changing colours", 2),
    Example("a-touch.mp4", "A touch", 20),
)


@cache
def documents(base: str) -> list[dict[str, Any]]:
    """All examples, as the page lists them."""
    return [example.document(base) for example in EXAMPLES]


@cache
def film(example: Example) -> bytes:
    """An example as an mp4 file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / example.name
        write_clip(example.clip(), path)
        return path.read_bytes()
