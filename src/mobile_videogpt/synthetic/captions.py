"""One-sentence descriptions of a clip, in a fixed order so that they can be compared exactly."""

from __future__ import annotations

import numpy as np

from .families import NUMBERS
from .motions import SIDE_OF_DIRECTION
from .questions import Question
from .world import COLORS, SHAPES, Clip, Shape

CAPTION_PROMPTS = (
    "Describe the video.",
    "What happens in the video?",
    "Describe what happens.",
)
OBJECTS_PROMPTS = ("Name the objects.", "Which objects can be seen?", "List the objects.")
_OPPOSITE_SIDE = {"left": "right", "right": "left", "top": "bottom", "bottom": "top"}


def describe(clip: Clip) -> str:
    """The clip in one sentence, objects in order of colour, then shape."""
    parts = [f"the {s.name} {_action(clip, s)}" for s in _ordered(clip)]
    return ", ".join(parts) + "."


def name_objects(clip: Clip) -> str:
    """The objects alone, with their sizes at the start, in the same order."""
    return ", ".join(f"a {s.size} {s.name}" for s in _ordered(clip)) + "."


def ask_caption(clip: Clip, rng: np.random.Generator) -> Question:
    """A request for the description, as a `Question` without options."""
    prompt = CAPTION_PROMPTS[rng.integers(len(CAPTION_PROMPTS))]
    return Question("description", prompt, describe(clip), ())


def ask_objects(clip: Clip, rng: np.random.Generator) -> Question:
    """A request for the list of objects (an image projector can learn from it alone)."""
    prompt = OBJECTS_PROMPTS[rng.integers(len(OBJECTS_PROMPTS))]
    return Question("objects", prompt, name_objects(clip), ())


def _ordered(clip: Clip) -> list[Shape]:
    return sorted(clip.shapes, key=lambda s: (COLORS.index(s.color), SHAPES.index(s.shape)))


def _action(clip: Clip, shape: Shape) -> str:
    text = _motion(shape)
    if shape.touches is not None:
        text += f" and touches the {clip.shapes[shape.touches].name}"
    event = _EVENT_WORDS.get(shape.event.kind, "")
    if shape.event.color:
        event = f"turns {shape.event.color}"
    return f"{text} and {event}" if event else text


_EVENT_WORDS = {"grow": "grows", "shrink": "shrinks", "appear": "appears", "vanish": "vanishes"}


def _motion(shape: Shape) -> str:
    motion = shape.motion
    if motion.kind == "bounce":
        times = "time" if motion.bounces == 1 else "times"
        return f"bounces {NUMBERS[motion.bounces]} {times}"
    if motion.kind == "enter":
        return f"enters from the {_OPPOSITE_SIDE[SIDE_OF_DIRECTION[motion.first]]}"
    if motion.kind == "leave":
        return f"leaves on the {SIDE_OF_DIRECTION[motion.first]}"
    if motion.kind == "sequence":
        return f"{_half(motion.first)} then {_half(motion.second)}"
    if motion.kind == "pushed":
        return f"is pushed {motion.second}"
    return {"still": "stays still", "circle": "circles"}.get(motion.kind, f"moves {motion.first}")


def _half(direction: str) -> str:
    return "stays still" if direction == "none" else f"moves {direction}"
