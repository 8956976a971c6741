"""The question families: each yields every draft that it can ask about a clip.

Answers are computed from the script. The families mirror MVBench where they can (paper, table 2).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

import numpy as np

from .motions import DIRECTIONS, OPPOSITE, SIDE_OF_DIRECTION
from .world import COLORS, SHAPES, Clip, Shape

NUMBERS = ("zero", "one", "two", "three", "four")
SIDES = ("left", "right", "top", "bottom")
STATE_CHANGES = {
    "none": "nothing",
    "recolor": "it changes color",
    "grow": "it grows",
    "shrink": "it shrinks",
    "appear": "it appears",
    "vanish": "it vanishes",
}


@dataclass(frozen=True)
class Draft:
    """A question before wording and options are drawn; `pool` are the possible wrong answers."""

    wordings: tuple[str, ...]
    answer: str
    pool: tuple[str, ...]
    count: int = 4
    weight: float = 1.0
    needs_options: bool = False


def _moving_direction(clip: Clip, rng: np.random.Generator) -> Iterator[Draft]:
    for shape in clip.shapes:
        name, motion = shape.name, shape.motion
        if motion.kind in ("straight", "enter", "leave", "pushed"):
            yield Draft(
                (
                    f"Which direction does the {name} move?",
                    f"Where does the {name} move?",
                    f"In which direction is the {name} moving?",
                    f"The {name} moves in which direction?",
                ),
                motion.second,
                tuple(DIRECTIONS),
            )
        if motion.kind == "enter":
            side = SIDE_OF_DIRECTION[OPPOSITE[motion.first]]
            yield Draft(
                (f"From which side does the {name} enter?", f"The {name} enters from which side?"),
                side,
                SIDES,
            )
        if motion.kind == "leave":
            side = SIDE_OF_DIRECTION[motion.first]
            yield Draft(
                (f"On which side does the {name} leave?", f"The {name} leaves on which side?"),
                side,
                SIDES,
            )


def _object_existence(clip: Clip, rng: np.random.Generator) -> Iterator[Draft]:
    present = {shape.name for shape in clip.shapes}
    seen = present | {f"{s.event.color} {s.shape}" for s in clip.shapes if s.event.color}
    absent = [n for n in _all_names() if n not in seen]
    near = [n for n in absent if any(w in shown for shown in present for w in n.split())]
    for name in sorted(present):
        yield Draft(_existence_wordings(name), "yes", ("yes", "no"))
        far = tuple(absent[i] for i in rng.choice(len(absent), size=3, replace=False))
        wordings = (
            "Which object is in the video?",
            "Which of these objects can be seen?",
            "Which object appears in the video?",
        )
        yield Draft(wordings, name, far, weight=0.7, needs_options=True)
    for i in rng.choice(len(near), size=min(len(near), len(present)), replace=False):
        yield Draft(_existence_wordings(near[i]), "no", ("yes", "no"))


def _existence_wordings(name: str) -> tuple[str, ...]:
    return (
        f"Is there a {name}?",
        f"Is there a {name} in the video?",
        f"Can you see a {name}?",
        f"Does the video show a {name}?",
    )


def _all_names() -> list[str]:
    return [f"{color} {shape}" for color in COLORS for shape in SHAPES]


def _moving_count(clip: Clip, rng: np.random.Generator) -> Iterator[Draft]:
    moving = len(clip.moving)
    yield Draft(
        (
            "How many objects move?",
            "How many objects are moving?",
            "How many moving objects are there?",
        ),
        NUMBERS[moving],
        NUMBERS,
        weight=2.0,
    )
    yield Draft(
        ("How many objects stay still?", "How many objects do not move?"),
        NUMBERS[len(clip.shapes) - moving],
        NUMBERS,
    )


def _moving_attribute(clip: Clip, rng: np.random.Generator) -> Iterator[Draft]:
    for shape in clip.shapes:
        yield from attribute_drafts(clip, shape)


def attribute_drafts(clip: Clip, shape: Shape) -> Iterator[Draft]:
    """Colour and shape of the one object that moves in a certain way."""
    for phrase in _unique_motions(clip, shape):
        if shape.event.kind != "recolor":
            yield Draft(
                (
                    f"What color is the object that {phrase}?",
                    f"Which color is the object that {phrase}?",
                    f"The object that {phrase} has which color?",
                ),
                shape.color,
                COLORS,
            )
        yield Draft(
            (
                f"What shape is the object that {phrase}?",
                f"Which shape is the object that {phrase}?",
                f"The object that {phrase} has which shape?",
            ),
            shape.shape,
            SHAPES,
        )


def _unique_motions(clip: Clip, shape: Shape) -> list[str]:
    """Phrases that fit this object and no other one."""
    own = _motion_phrases(shape)
    others = {
        p for other in clip.shapes if other is not shape for p in _motion_phrases(other, True)
    }
    return [phrase for phrase in own if phrase not in others]


def _motion_phrases(shape: Shape, is_loose: bool = False) -> list[str]:
    """How one may refer to the object by its motion; `is_loose` adds what might also be said."""
    motion = shape.motion
    phrases = {
        "bounce": ["bounces"],
        "circle": ["circles"],
        "enter": ["enters"],
        "leave": ["leaves"],
    }
    found = list(phrases.get(motion.kind, []))
    if motion.kind == "straight":
        found.append(f"moves {motion.first}")
    elif is_loose:
        found += [f"moves {d}" for d in (motion.first, motion.second) if d != "none"]
        if motion.kind == "bounce":
            found += [f"moves {d}" for d in DIRECTIONS]
    return found


def _action_sequence(clip: Clip, rng: np.random.Generator) -> Iterator[Draft]:
    for shape in clip.shapes:
        if shape.motion.kind != "sequence":
            continue
        first, second = (_step(d) for d in (shape.motion.first, shape.motion.second))
        steps = tuple(_step(d) for d in [*DIRECTIONS, "none"])
        name = shape.name
        yield Draft(
            (f"What does the {name} do first?", f"What is the first thing that the {name} does?"),
            first,
            steps,
        )
        yield Draft(
            (
                f"What does the {name} do last?",
                f"What does the {name} do after it {first}?",
                f"After the {name} {first}, what does it do?",
            ),
            second,
            tuple(step for step in steps if step != first),
        )
        orders = _other_orders(shape.motion.first, shape.motion.second, rng)
        yield Draft(
            (f"What does the {name} do?", f"In which order does the {name} move?"),
            f"{first} then {second}",
            orders,
        )


def _step(direction: str) -> str:
    return "stays still" if direction == "none" else f"moves {direction}"


def _other_orders(first: str, second: str, rng: np.random.Generator) -> tuple[str, ...]:
    """Wrong orders: the reverse always, and two that share one half."""
    a = rng.choice([d for d in DIRECTIONS if d not in (first, second)])
    b = rng.choice([d for d in DIRECTIONS if d not in (first, second)])
    wrong = [(second, first), (first, str(a)), (str(b), second)]
    return tuple(f"{_step(x)} then {_step(y)}" for x, y in wrong)


def _action_count(clip: Clip, rng: np.random.Generator) -> Iterator[Draft]:
    for shape in clip.shapes:
        kind = shape.motion.kind
        if kind not in ("bounce", "straight", "still"):
            continue
        yield Draft(
            (
                f"How many times does the {shape.name} bounce?",
                f"How often does the {shape.name} bounce?",
                f"The {shape.name} bounces how many times?",
            ),
            NUMBERS[shape.motion.bounces],
            NUMBERS[:4],
            weight=1.0 if kind == "bounce" else 0.06,
        )


def _state_change(clip: Clip, rng: np.random.Generator) -> Iterator[Draft]:
    for shape in clip.shapes:
        kind = shape.event.kind
        yield Draft(
            (
                f"What happens to the {shape.name}?",
                f"How does the {shape.name} change?",
                f"What change happens to the {shape.name}?",
            ),
            STATE_CHANGES[kind],
            tuple(STATE_CHANGES.values()),
            weight=0.15 if kind == "none" else 1.0,
        )
        if shape.event.color:
            yield Draft(
                (
                    f"What color does the {shape.name} become?",
                    f"Which color does the {shape.name} turn into?",
                ),
                shape.event.color,
                COLORS,
            )


def _object_interaction(clip: Clip, rng: np.random.Generator) -> Iterator[Draft]:
    for shape in clip.shapes:
        if shape.touches is None:
            continue
        target = clip.shapes[shape.touches]
        names = tuple(s.name for s in clip.shapes if s is not shape) + tuple(
            str(n) for n in rng.choice(_all_names(), size=4) if n != shape.name
        )
        yield Draft(
            (
                f"Which object does the {shape.name} touch?",
                f"What does the {shape.name} touch?",
                f"The {shape.name} touches which object?",
            ),
            target.name,
            names,
            weight=2.0,
        )
        yield Draft(
            (f"Which object touches the {target.name}?", f"What touches the {target.name}?"),
            shape.name,
            tuple(s.name for s in clip.shapes if s is not target) + names[-3:],
            weight=2.0,
        )
        yield Draft(_touch_wordings(shape, target), "yes", ("yes", "no"))
        pushed = target.motion.kind == "pushed"
        yield Draft(
            (
                f"What does the {shape.name} do to the {target.name}?",
                f"What happens when the {shape.name} touches the {target.name}?",
            ),
            "it pushes it away" if pushed else "it stops at it",
            ("it pushes it away", "it stops at it"),
        )
    pairs = [(a, b) for i, a in enumerate(clip.shapes) for j, b in enumerate(clip.shapes) if i != j]
    untouched = [(a, b) for a, b in pairs if not _in_touch(clip, a, b)]
    for i in rng.permutation(len(untouched))[:1]:
        yield Draft(_touch_wordings(*untouched[i]), "no", ("yes", "no"), weight=0.3)


def _in_touch(clip: Clip, a: Shape, b: Shape) -> bool:
    def hits(x: Shape, y: Shape) -> bool:
        return x.touches is not None and clip.shapes[x.touches] is y

    return hits(a, b) or hits(b, a)


def _touch_wordings(a: Shape, b: Shape) -> tuple[str, ...]:
    return (
        f"Does the {a.name} touch the {b.name}?",
        f"Do the {a.name} and the {b.name} touch?",
    )


def _counterfactual(clip: Clip, rng: np.random.Generator) -> Iterator[Draft]:
    for i, shape in enumerate(clip.shapes):
        rest = clip.without(i)
        if len(clip.shapes) > 1:
            moving = sum(s.motion.is_moving for s in rest)
            yield Draft(
                (
                    f"If the {shape.name} were not there, how many objects would move?",
                    f"Without the {shape.name}, how many objects would be moving?",
                ),
                NUMBERS[moving],
                NUMBERS,
                weight=1.0 if shape.touches is not None else 0.5,
            )
        for j, other in enumerate(clip.shapes):
            if j == i or other.motion.kind not in ("pushed", "straight"):
                continue
            needs = other.motion.kind == "pushed" and shape.touches == j
            yield Draft(
                (
                    f"If the {shape.name} were not there, would the {other.name} move?",
                    f"Without the {shape.name}, would the {other.name} move?",
                ),
                "no" if needs else "yes",
                ("yes", "no"),
                weight=2.0 if needs else 0.25,
            )
        if len(clip.shapes) > 2:
            yield from _counterfactual_touch(clip, i)


def _counterfactual_touch(clip: Clip, removed: int) -> Iterator[Draft]:
    for hitter in clip.shapes:
        if hitter.touches is None or hitter.touches == removed:
            continue
        name = clip.shapes[removed].name
        target = clip.shapes[hitter.touches].name
        is_hitter = clip.shapes[removed] is hitter
        yield Draft(
            (
                f"If the {name} were not there, would anything touch the {target}?",
                f"Without the {name}, would anything touch the {target}?",
            ),
            "no" if is_hitter else "yes",
            ("yes", "no"),
            weight=0.8 if is_hitter else 0.6,
        )


DRAFTERS: dict[str, Callable[[Clip, np.random.Generator], Iterator[Draft]]] = {
    "moving_direction": _moving_direction,
    "object_existence": _object_existence,
    "moving_count": _moving_count,
    "moving_attribute": _moving_attribute,
    "action_sequence": _action_sequence,
    "action_count": _action_count,
    "state_change": _state_change,
    "object_interaction": _object_interaction,
    "counterfactual": _counterfactual,
}
