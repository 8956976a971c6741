"""Clips of a motion that the built-in model does not know, as a table to fine-tune from.

    python examples/finetune/zigzag.py OUT

A zigzag goes one way in short diagonal legs, first to one side, then to the other. In every clip
one object does, beside one or two that move in ways the model knows. OUT gets 200 clips to train
from (`train.csv`) and 60 others, never trained, to measure on (`test.csv`); both tables have the
columns video, question, answer. The words are the built-in model's own: a zigzag "turns again and
again".
"""

import argparse
import csv
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np

from mobile_videogpt.synthetic import Clip, make_clip
from mobile_videogpt.synthetic.dataset import write_clip
from mobile_videogpt.synthetic.motions import DIRECTIONS, Motion
from mobile_videogpt.synthetic.world import MARGIN, RADII, Event, Shape

TRAIN, TEST = 200, 60
# Seeds of MovingShapes from which nothing else is made; their scripts are the other objects.
FIRST_SEED = {"train": 900_000_000, "test": 950_000_000}
CHECK_TIMES = np.linspace(0.0, 1.0, 33)
ATTRIBUTES = ("color", "shape")


def make_zigzag(rng: np.random.Generator, radius: float) -> Motion:
    """A path of four or five diagonal legs that goes one way, inside the frame."""
    legs = int(rng.integers(4, 6))
    length, width = rng.uniform(0.45, 0.6), rng.uniform(0.22, 0.32)
    along = rng.uniform(radius, 1 - radius - length) + np.linspace(0, length, legs + 1)
    across = rng.uniform(radius, 1 - radius - width) + width * (np.arange(legs + 1) % 2)
    direction = str(rng.choice(list(DIRECTIONS)))
    if direction in ("left", "up"):
        along = 1 - along
    x, y = (along, across) if direction in ("left", "right") else (across, along)
    times = np.linspace(0, 1, legs + 1)
    points = tuple((float(t), float(a), float(b)) for t, a, b in zip(times, x, y, strict=True))
    return Motion("zigzag", points, direction, direction)


def zigzag_clip(seed: int) -> Clip | None:
    """The script of clip `seed` with one of its objects zigzagging; None where there is no room."""
    script = make_clip(seed)
    rng = np.random.default_rng([seed, 11])
    free = [s for s in script.shapes if s.touches is None and s.motion.kind != "pushed"]
    if len(free) < len(script.shapes) or len(free) < 2:
        return None
    others = tuple(s for s in free[1:3] if s.event.kind == "none" and s.motion.is_moving)
    if not others:
        return None
    for _ in range(40):
        motion = make_zigzag(rng, RADII[free[0].size])
        ours = replace(free[0], motion=motion, event=Event())
        if all(gap(ours, other) > MARGIN for other in others):
            # Not always the first, so that its place in the script tells nothing.
            shapes = [ours, *others]
            order = rng.permutation(len(shapes))
            return replace(script, shapes=tuple(shapes[i] for i in order))
    return None


def gap(a: Shape, b: Shape) -> float:
    """The least distance between two objects' edges."""
    apart = a.motion.positions(CHECK_TIMES) - b.motion.positions(CHECK_TIMES)
    distance = np.linalg.norm(apart, axis=1) - a.radii(CHECK_TIMES) - b.radii(CHECK_TIMES)
    return float(distance.min())


def questions(clip: Clip) -> Iterator[tuple[str, str, float]]:
    """Question, answer, and how often one who sees the objects but not the motion would be right.

    All ask which object zigzags, by its colour, its shape and its name.
    """
    (ours,) = (shape for shape in clip.shapes if shape.motion.kind == "zigzag")
    for name in ATTRIBUTES:
        answer = getattr(ours, name)
        chance = sum(getattr(s, name) == answer for s in clip.shapes) / len(clip.shapes)
        if chance < 1:
            yield f"What {name} is the object that turns again and again?", answer, chance
    yield "Which object turns again and again?", ours.name, 1 / len(clip.shapes)


def write_split(out: Path, split: str, count: int) -> Path:
    """Write `count` clips and their table; clips that are there already are kept."""
    videos = out / split
    videos.mkdir(parents=True, exist_ok=True)
    rows: list[tuple[str, str, str, float]] = []
    seed, written = FIRST_SEED[split], 0
    while written < count:
        clip = zigzag_clip(seed)
        seed += 1
        if clip is None:
            continue
        name = f"{split}/zigzag-{written:04d}.mp4"
        if not (out / name).exists():
            write_clip(clip, out / name)
        rows += [(name, *question) for question in questions(clip)]
        written += 1
    path = out / f"{split}.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(("video", "question", "answer", "chance"))
        writer.writerows((*row[:3], f"{row[3]:.3f}") for row in rows)
    return path


def main() -> None:
    """Write both tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path, metavar="OUT")
    parser.add_argument("--train", type=int, default=TRAIN, metavar="N")
    parser.add_argument("--test", type=int, default=TEST, metavar="N")
    options = parser.parse_args()
    print(write_split(options.out, "train", options.train))
    print(write_split(options.out, "test", options.test))


if __name__ == "__main__":
    main()
