"""A live window by parts: what sharing half its frames saves, and what reusing more would cost.

    python benchmarks/record.py benchmarks/results/window-reuse.json -- \\
        python benchmarks/window_reuse.py --speed 0.5b

A frame's image features are its own, so a window takes them over exactly. The video encoder reads
the key frames of both chunks as one sequence, in both directions, so nothing of it can be taken
over exactly. Running it on each chunk by itself, whose features could then be kept, would halve it
too; the first part of the result says what that does to the built-in model's answers.
"""

import argparse
import json
import statistics
import sys
from collections import defaultdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.evaluation.moving_shapes import EXTRAS
from mobile_videogpt.synthetic.dataset import FRAMES, SIDE, clip_number, clip_questions
from mobile_videogpt.synthetic.world import make_clip

VISION = ("image_encoder", "selection", "video_encoder", "projectors")


def main(arguments: list[str] | None = None) -> int:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--clips", type=int, default=100, help="unseen clips to ask about")
    parser.add_argument("--seed", type=int, default=7, help="which ones")
    parser.add_argument("--speed", metavar="PRESET", help="also time this preset, random weights")
    args = parser.parse_args(arguments)
    document = {"seed": args.seed, "clips": args.clips, **chunk_accuracy(args.clips, args.seed)}
    if args.speed:
        document["speed"] = window_seconds(args.speed)
    print(json.dumps(document, indent=2))
    return 0


def chunk_accuracy(clips: int, seed: int) -> dict[str, Any]:
    """Multiple choice with the video encoder on all key frames, and on each chunk's by itself."""
    chat = VideoChat("moving-shapes", engine="torch", dtype="float32")
    model, per_chunk = chat.model, chat.config.frames_kept_per_chunk
    together = model.encode_video_frames

    def by_chunk(pixels: torch.Tensor) -> torch.Tensor:
        return torch.cat([together(chunk) for chunk in pixels.split(per_chunk, dim=1)], dim=1)

    right: dict[str, list[bool]] = defaultdict(list)
    for index in range(clips):
        clip = make_clip(clip_number(seed, index), "test")
        questions = [q for q in clip_questions(clip) if q.family not in EXTRAS and q.options]
        for name, encode in (("together", together), ("by_chunk", by_chunk)):
            model.encode_video_frames = encode
            chat.forget()
            video = chat.open(clip.frames(FRAMES, SIDE))
            for q in questions:
                best = chat.choose(video, q.text, q.options, history=q.history).best.option
                right[name].append(best == q.answer)
    shares = {name: round(statistics.fmean(answers), 4) for name, answers in right.items()}
    return {"questions": len(right["together"]), "multiple_choice_accuracy": shares}


def window_seconds(preset: str, rounds: int = 3) -> dict[str, Any]:
    """Seconds per part of a fresh window and of the next, which shares half its frames."""
    from mobile_videogpt.benchmark.clips import make_clip_file
    from mobile_videogpt.benchmark.stand_in import random_checkpoint
    from mobile_videogpt.video.source import read_video

    chat = VideoChat(str(random_checkpoint(preset)))
    size = chat.config.num_frames
    with TemporaryDirectory() as folder:
        path = make_clip_file("224p", Path(folder))
        frames = read_video(path, count=size + size // 2).frames
    windows: dict[str, list[dict[str, float]]] = {"fresh": [], "shared": []}
    for number in range(rounds + 1):
        chat.forget()
        stream = chat.stream_window(iter(frames))
        for name in windows:
            timings = next(stream).timings
            if number:  # the first round warms up
                windows[name].append(timings)
    seconds = {
        name: {part: round(statistics.median(t[part] for t in runs), 3) for part in VISION}
        for name, runs in windows.items()
    }
    totals = {name: sum(parts.values()) for name, parts in seconds.items()}
    return {
        "preset": preset,
        "engine": type(chat.engine).__name__,
        "threads": torch.get_num_threads(),
        **seconds,
        "share": round(totals["shared"] / totals["fresh"], 3),
    }


if __name__ == "__main__":
    sys.exit(main())
