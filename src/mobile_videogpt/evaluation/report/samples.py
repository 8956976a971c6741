"""Some answers to look at: right and wrong ones of every kind, with the key frames as a picture."""

from __future__ import annotations

import io
import logging
import math
import random
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from ..predictions import Prediction
from .results import answer_place, answer_text, is_right, letter_place

if TYPE_CHECKING:
    from mobile_videogpt.video.source import FrameSource

logger = logging.getLogger(__name__)

OF_EACH = 4  # right ones, and wrong ones, of each benchmark
MOST_FRAMES = 8
_THUMBNAIL = 150  # pixels, the longer side
_GAP, _CAPTION = 6, 22
_COLUMNS = 4
_PAPER, _INK = (255, 255, 255), (102, 112, 133)


def choose_samples(
    results: Sequence[Prediction], of_each: int = OF_EACH, seed: int = 0
) -> list[Prediction]:
    """Right ones, then wrong ones, from as many kinds of questions and videos as possible.

    Drawn with `seed`, not picked: they show what the model is like, not its best side. What could
    not be read or scored is left out.
    """
    scored = [r for r in results if r.score is not None and r.error is None]
    draw = random.Random(seed)
    draw.shuffle(scored)
    right = _spread_out([r for r in scored if is_right(r)])[:of_each]
    wrong = _spread_out([r for r in scored if not is_right(r)])[:of_each]
    return [*right, *wrong]


def describe_sample(result: Prediction) -> dict[str, Any]:
    """One sample as JSON; `picture` is added by whoever writes it."""
    return {
        "task": result.task,
        "id": result.id,
        "kind": result.sub_task,
        "is_right": is_right(result),
        "question": bare_question(result),
        "options": list(result.options),
        "answer": answer_text(result),
        "right_option": answer_place(result),
        "chosen_option": _chosen_place(result),
        "output": result.output,
        "video": result.video,
        "key_frame_times": list(result.kept_times),
    }


def _chosen_place(result: Prediction) -> int | None:
    """Which option the model settled on: a prediction is a letter, or counts from 0."""
    said = result.prediction
    place = said if isinstance(said, int) else letter_place(said)
    return place if place is not None and 0 <= place < len(result.options) else None


def bare_question(result: Prediction) -> str:
    """The first line of the prompt that says something: the options are shown beside it."""
    lines = [line.strip() for line in result.prompt.splitlines()]
    return next((line for line in lines if line), "").removeprefix("Question:").strip()


def draw_key_frames(result: Prediction) -> bytes | None:
    """The frames that the video encoder saw, with their seconds, as JPEG.

    Frames evenly over the video where the run noted none (another model's answers); None where the
    video cannot be read any more.
    """
    # Reading needs the decoder; a report of figures alone does not.
    from mobile_videogpt.video.source import VideoError, open_source

    try:
        opened = open_source(_source(result), fps=result.fps)
        times = _thinned(result.kept_times or _stretch(opened, result))
        frames = _frames_at(opened, times)
    except (VideoError, OSError) as error:
        logger.warning("a sample of the report has no picture: %s", error)
        return None
    has_clock = opened.fps is not None
    return _strip(frames, [f"{t:.1f} s" if has_clock else f"frame {t:.0f}" for t in times])


def _stretch(source: FrameSource, result: Prediction) -> list[float]:
    """Seconds of all frames between the start and the end that the question is about."""
    clock = source.times()
    start, end = result.start or 0.0, result.end or float(clock[-1])
    return [float(t) for t in clock if start <= t <= end] or [float(clock[0])]


def _thinned(times: Sequence[float]) -> list[float]:
    """At most MOST_FRAMES of them, evenly."""
    places = np.linspace(0, len(times) - 1, min(MOST_FRAMES, len(times))).round().astype(int)
    return [times[place] for place in places]


def _source(result: Prediction) -> Any:
    """What the video is read from: its path, or the clip itself where it is made on demand."""
    if not result.task.startswith("moving-shapes"):
        return result.video
    from ..tasks.moving_shapes import clip_ref

    name = Path(result.video)
    return clip_ref(int(name.stem.rsplit("-", 1)[-1]), is_file=name.suffix == ".mp4").source


def _frames_at(source: FrameSource, times: Sequence[float]) -> list[np.ndarray]:
    """The frames nearest to these seconds, uint8 (H, W, 3)."""
    from mobile_videogpt.video.source import read_without_gaps

    clock = source.times()
    return read_without_gaps(source, [int(np.abs(clock - t).argmin()) for t in times])


def _strip(frames: Sequence[np.ndarray], captions: Sequence[str]) -> bytes:
    """Frames in rows of four, a caption below each."""
    height, width = frames[0].shape[:2]
    scale = _THUMBNAIL / max(height, width)
    cell = max(1, round(width * scale)), max(1, round(height * scale))
    columns = min(_COLUMNS, len(frames))
    rows = math.ceil(len(frames) / columns)
    pitch = cell[0] + _GAP, cell[1] + _CAPTION
    strip = Image.new("RGB", (columns * pitch[0] - _GAP, rows * pitch[1]), _PAPER)
    draw = ImageDraw.Draw(strip)
    font = ImageFont.load_default(13)
    for place, (frame, caption) in enumerate(zip(frames, captions, strict=True)):
        left, top = place % columns * pitch[0], place // columns * pitch[1]
        strip.paste(Image.fromarray(frame).resize(cell, Image.Resampling.BICUBIC), (left, top))
        middle = left + cell[0] / 2, top + cell[1] + 2
        draw.text(middle, caption, _INK, font, anchor="ma")
    picture = io.BytesIO()
    strip.save(picture, format="JPEG", quality=82)
    return picture.getvalue()


def _spread_out(results: Sequence[Prediction]) -> list[Prediction]:
    """In turns over the kinds of questions, and videos that were not shown yet first."""
    waiting: dict[str | None, list[Prediction]] = {}
    for result in results:
        waiting.setdefault(result.sub_task, []).append(result)
    fresh: list[Prediction] = []
    shown: list[Prediction] = []
    seen: set[str] = set()
    for result in _round_robin([iter(rows) for rows in waiting.values()]):
        (shown if result.video in seen else fresh).append(result)
        seen.add(result.video)
    return [*fresh, *shown]


def _round_robin(turns: list[Iterator[Prediction]]) -> Iterator[Prediction]:
    while turns:
        going = []
        for turn in turns:
            for result in turn:
                yield result
                going.append(turn)
                break
        turns = going
