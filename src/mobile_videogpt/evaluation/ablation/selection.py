"""Does selection keep the frames that matter? A probe that the paper lacks.

MovingShapes knows when everything happens. Each happening has two frames that show it: the last
sampled one before it and the first one after it. A way to select frames is asked which of these it
keeps. Nothing is trained here: attention is that of the model's image encoder, and half of the
frames are kept by everyone, so a blind draw keeps one event frame in two.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from ...models.frame_selection import score_frames, select_frames, uniform_frames
from ...synthetic.dataset import FRAMES, SIDE, clip_number
from ...synthetic.world import make_clip
from ..statistics import Tally, difference, interval
from .events import Happening, happenings

if TYPE_CHECKING:
    from ...chat import VideoChat
    from ...config import MobileVideoGPTConfig

logger = logging.getLogger(__name__)

RANDOM = "random"
RANDOM_DRAWS = 32  # of every clip: the blind draw's own luck should not show
REACH = 7  # frames before and after a happening whose chance of being kept is recorded
Kept = list[int]


def probe_selection(chat: VideoChat, clips: int, seed: int = 0) -> dict[str, Any]:
    """Recall of event frames by way of selecting, on the first unseen clips of `seed`.

    Args:
        chat: whose image encoder scores the frames, and whose configuration says how many are
            kept; torch engine.
        clips: how many clips.
        seed: which ones, see `clip_number`.

    Returns:
        Plain data. For each method under `methods`: `recall` (share of event frames kept), `both`
        (share of happenings with both frames kept) and `missed` (share with no kept frame before
        or none after it: what happened cannot be seen), each with its interval over clips, and
        `recall` by kind; `difference` is that of the recall to a random draw, in pairs;
        `kept_at` is how often a frame so many places from a happening is kept (-1 is the last
        one before it, 1 the first one after it).
    """
    rows: dict[str, list[dict[str, Any]]] = {}
    for number, frames_kept, found in _selections(chat, clips, seed):
        for method, draws in frames_kept.items():
            rows.setdefault(method, []).extend(
                row for kept in draws for row in _rows(number, kept, found, chat.config.num_frames)
            )
    return {
        "clips": clips,
        "seed": seed,
        "frames": chat.config.num_frames,
        "kept": chat.config.num_kept_frames,
        "random_draws": RANDOM_DRAWS,
        "methods": {method: _summary(rows[method], rows[RANDOM]) for method in rows},
    }


def methods_of(
    config: MobileVideoGPTConfig, seed: int
) -> dict[str, Callable[[torch.Tensor, torch.Tensor], list[Kept]]]:
    """Name -> function of image features (T, N, D) and pixels (T, 3, H, W) to draws of kept frames.

    Every method keeps `config.num_kept_frames` frames. "change" is not the paper's: it keeps the
    frames of each chunk that differ most from their neighbours, as a yardstick.
    """
    frames, keep = config.num_frames, config.num_kept_frames
    chunk, keep_of_chunk = config.frames_per_chunk, config.frames_kept_per_chunk
    generator = torch.Generator().manual_seed(seed)

    def by_chunk(scores: torch.Tensor, largest: bool = True) -> Kept:
        kept = select_frames(scores.view(-1, chunk), keep_of_chunk, largest)
        return (kept + torch.arange(0, frames, chunk)[:, None]).flatten().tolist()

    def attention(features: torch.Tensor) -> torch.Tensor:
        return score_frames(features.unflatten(0, (-1, chunk))).flatten()

    return {
        "attention": lambda features, _: [by_chunk(attention(features))],
        "attention, all frames at once": lambda features, _: [
            select_frames(score_frames(features), keep).tolist()
        ],
        "least attention": lambda features, _: [by_chunk(attention(features), largest=False)],
        "uniform": lambda *_: [uniform_frames(frames, keep)],
        RANDOM: lambda *_: [
            by_chunk(torch.rand(frames, generator=generator)) for _ in range(RANDOM_DRAWS)
        ],
        "change": lambda _, pixels: [by_chunk(_change(pixels))],
    }


def _change(pixels: torch.Tensor) -> torch.Tensor:
    """How much each frame differs from its neighbours, (T,)."""
    steps = (pixels[1:] - pixels[:-1]).abs().flatten(1).mean(1)
    padded = torch.nn.functional.pad(steps, (1, 1))
    return padded[:-1] + padded[1:]


@torch.inference_mode()
def _selections(
    chat: VideoChat, clips: int, seed: int
) -> Iterator[tuple[int, dict[str, list[Kept]], list[Happening]]]:
    """Of every clip: its number, the kept frames of every method, what happens in it."""
    model, config = chat.model, chat.config
    if model is None:
        raise ValueError("the onnx engine does not hand out features; use engine='torch'")
    methods = methods_of(config, seed)
    for index in range(clips):
        clip = make_clip(clip_number(seed, index), "test")
        frames = clip.frames(FRAMES, SIDE)[:: FRAMES // config.num_frames]
        images, _ = chat.processor.pixels(list(frames))
        features = model.encode_images(images)[0].float()
        chosen = {name: select(features, images[0]) for name, select in methods.items()}
        yield clip.seed, chosen, happenings(clip)
        if (index + 1) % 100 == 0:
            logger.info("selection: %d of %d clips", index + 1, clips)


def _rows(
    clip: int, kept: Kept, found: Iterable[Happening], num_frames: int
) -> Iterator[dict[str, Any]]:
    """One row a happening that has both its frames."""
    for happening in found:
        shown = happening.frames(num_frames)
        if shown is None:
            continue
        before, after = shown
        around = {
            offset: (before + offset + 1 if offset < 0 else after + offset - 1) in kept
            for offset in (*range(-REACH, 0), *range(1, REACH + 1))
            if 0 <= (before + offset + 1 if offset < 0 else after + offset - 1) < num_frames
        }
        yield {
            "clip": clip,
            "kind": happening.kind,
            "recall": (around[-1] + around[1]) / 2,
            "both": around[-1] and around[1],
            "missed": min(kept) > before or max(kept) < after,
            "around": around,
        }


def _summary(rows: list[dict[str, Any]], random: list[dict[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {"happenings": len(rows)}
    for measure in ("recall", "both", "missed"):
        found[measure] = _measured(rows, measure)
    found["difference"] = difference(_tally(rows, "recall"), _tally(random, "recall")).as_json()
    kinds = sorted({row["kind"] for row in rows})
    found["kinds"] = {kind: _kind([row for row in rows if row["kind"] == kind]) for kind in kinds}
    offsets = sorted({offset for row in rows for offset in row["around"]})
    found["kept_at"] = {
        str(offset): float(np.mean([r["around"][offset] for r in rows if offset in r["around"]]))
        for offset in offsets
    }
    return found


def _kind(rows: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "recall": _measured(rows, "recall"),
        "missed": _tally(rows, "missed").mean(),
        "happenings": len(rows),
    }


def _measured(rows: list[dict[str, Any]], measure: str) -> dict[str, Any]:
    tally = _tally(rows, measure)
    value = tally.mean()
    if measure == "recall" and {row["recall"] for row in rows} == {0.5}:
        # Not luck: of two neighbours every second frame is exactly one.
        return {"value": value, "interval": {"low": value, "high": value, "method": "exact"}}
    return {"value": value, "interval": interval(tally).as_json()}


def _tally(rows: list[dict[str, Any]], measure: str) -> Tally:
    return Tally([float(row[measure]) for row in rows], [row["clip"] for row in rows])


def render_recall(probe: Mapping[str, Any]) -> str:
    """Markdown: one row a method, with intervals in percent."""
    lines = [
        "| Kept by | event frames kept | against random | both frames | event missed |",
        "| --- | ---: | ---: | ---: | ---: |",
    ]
    for name, found in probe["methods"].items():
        gap = found["difference"]
        against = "" if name == RANDOM else f"{100 * gap['value']:+.1f} ({_ends(gap, '+.1f')})"
        cells = [_share(found["recall"]), against, _share(found["both"]), _share(found["missed"])]
        lines.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(lines) + "\n"


def _share(measured: Mapping[str, Any]) -> str:
    return f"{100 * measured['value']:.1f} ({_ends(measured, '.1f')})"


def _ends(measured: Mapping[str, Any], form: str) -> str:
    ends = measured["interval"]
    return f"{100 * ends['low']:{form}} to {100 * ends['high']:{form}}"
