"""MovingShapes on disk: real mp4 files and the annotations that training and users read."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from .captions import ask_caption
from .questions import Question, ask_dialogue, ask_questions
from .world import Clip, make_clip

FRAMES, SIDE, FPS = 32, 128, 8  # four seconds
SEED_STRIDE = (
    1_000_000  # clips i of seed S are numbered S * stride + i, so that seeds never share one
)


def clip_number(seed: int, index: int) -> int:
    """The number under which `make_clip` knows clip `index` of a data set with this seed.

    Raises ValueError for a negative seed or an index beyond the stride.
    """
    if seed < 0 or not 0 <= index < SEED_STRIDE:
        raise ValueError(
            f"Seed {seed} with clip {index} is out of range: seeds are 0 or more, and a seed has"
            f" {SEED_STRIDE} clips."
        )
    return seed * SEED_STRIDE + index


def write_dataset(out: str | Path, num_clips: int, seed: int = 0, split: str = "train") -> Path:
    """Write `num_clips` clips to OUT/videos and their questions to OUT/annotations.json.

    Annotations follow LLaVA's layout: one entry a clip and question, `video` relative to OUT,
    `conversations` with a leading `<video>`; `family`, `options` and `answer` come on top. The same
    arguments give the same files; clips that are already there are not rendered again. Returns OUT.
    """
    out = Path(out)
    videos = out / "videos"
    videos.mkdir(parents=True, exist_ok=True)
    entries: list[dict[str, Any]] = []
    for index in range(num_clips):
        number = clip_number(seed, index)
        clip = make_clip(number, split)
        name = f"{split}-{number:08d}.mp4"
        if not (videos / name).exists():
            write_clip(clip, videos / name)
        for place, question in enumerate(clip_questions(clip)):
            entries.append(_entry(f"{name[:-4]}-{place}", f"videos/{name}", question))
    partial = out / "annotations.json.partial"
    partial.write_text(json.dumps(entries, indent=1), encoding="utf-8")
    os.replace(partial, out / "annotations.json")
    return out


def clip_questions(clip: Clip, per_family: int = 1) -> list[Question]:
    """The clip's own questions, a description and a dialogue: the same ones every time."""
    rng = np.random.default_rng([clip.seed, 3])
    questions = [*ask_questions(clip, rng, per_family), ask_caption(clip, rng)]
    dialogue = ask_dialogue(clip, rng)
    return [*questions, dialogue] if dialogue else questions


def _entry(identifier: str, video: str, question: Question) -> dict[str, Any]:
    turns = list(_turns(question))
    turns[0]["value"] = f"<video>\n{turns[0]['value']}"
    entry = {"id": identifier, "video": video, "conversations": turns, "family": question.family}
    return {**entry, "options": list(question.options), "answer": question.answer}


def _turns(question: Question) -> Iterator[dict[str, str]]:
    for asked, answer in (*question.history, (question.open_text, question.answer)):
        yield {"from": "human", "value": asked}
        yield {"from": "gpt", "value": answer}


def write_clip(clip: Clip, path: Path, *, is_lossless: bool = False) -> None:
    """Render one clip as H.264 mp4 (four seconds, 128 x 128); the file appears only when whole.

    A lossless file decodes to the very pixels that were painted. FFmpeg and what is built on it
    reads such files; browsers do not.
    """
    codec, pixel_format = ("libx264rgb", "rgb24") if is_lossless else ("libx264", "yuv420p")
    options = {"qp": "0"} if is_lossless else {"crf": "14"}
    partial = path.with_name(f"{path.stem}.partial{path.suffix}")
    with av.open(str(partial), "w") as container:
        stream = container.add_stream(codec, rate=FPS, options=options)
        stream.width = stream.height = SIDE
        stream.pix_fmt = pixel_format
        stream.time_base = Fraction(1, FPS)
        for frame in clip.frames(FRAMES, SIDE):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    os.replace(partial, path)
