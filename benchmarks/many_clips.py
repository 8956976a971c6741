"""Describing many clips: decoding the next while the model works, beside one thing at a time.

    python benchmarks/record.py benchmarks/results/many-clips.json -- \\
        python benchmarks/many_clips.py --model 0.5b --random

Both ways take turns clip by clip, so that whatever else the machine does falls on both. The last
line of progress, on stderr, is clips per minute; the JSON document has the seconds of every clip.
"""

import argparse
import json
import os
import statistics
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from mobile_videogpt.chat import VideoChat

QUESTION = "Describe the video."


def main(arguments: list[str] | None = None) -> int:
    """Measure and print one JSON document."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--model", default="moving-shapes", help="a checkpoint, or a preset")
    parser.add_argument("--random", action="store_true", help="random weights of that preset")
    parser.add_argument("--size", default="1080p", choices=("1080p", "224p"), help="of the clips")
    parser.add_argument("--clips", type=int, default=4, help="in each turn")
    parser.add_argument("--rounds", type=int, default=3, help="turns of each way")
    parser.add_argument("--new-tokens", type=int, default=32, help="longest description")
    args = parser.parse_args(arguments)
    print(json.dumps(measure(args), indent=2))
    return 0


def measure(args: argparse.Namespace) -> dict[str, Any]:
    """Seconds of every round, and clips per minute of both ways."""
    from mobile_videogpt.benchmark.clips import make_clip_file
    from mobile_videogpt.benchmark.stand_in import random_checkpoint

    chat = VideoChat(str(random_checkpoint(args.model)) if args.random else args.model)
    seconds: dict[str, list[float]] = {"ahead": [], "one_by_one": []}
    with TemporaryDirectory() as folder:
        path = make_clip_file(args.size, Path(folder))
        describe(chat, path, 1, 1, args.new_tokens)  # warms up
        for _ in range(args.rounds):
            for way, ahead in (("ahead", 1), ("one_by_one", 0)):
                start = time.perf_counter()
                describe(chat, path, args.clips, ahead, args.new_tokens)
                seconds[way].append(round(time.perf_counter() - start, 3))
                print(f"{way}: {seconds[way][-1]:.1f} s", file=sys.stderr, flush=True)
    rates = {
        way: round(60 * args.clips / statistics.median(found), 2) for way, found in seconds.items()
    }
    print(rates, file=sys.stderr)
    return {
        "model": chat.name,
        "engine": type(chat.engine).__name__,
        "threads": torch.get_num_threads(),
        "cores": os.cpu_count(),
        "clip": args.size,
        "clips": args.clips,
        "new_tokens": args.new_tokens,
        "seconds": seconds,
        "clips_per_minute": rates,
        "faster_times": round(rates["ahead"] / rates["one_by_one"], 3),
    }


def describe(chat: VideoChat, path: Path, clips: int, ahead: int, new_tokens: int) -> None:
    """Open and describe one clip as often as if there were `clips` of them."""

    def each() -> Iterator[str]:
        for _ in range(clips):
            yield str(path)

    for _, video in chat.open_each(each(), ahead=ahead):
        if isinstance(video, Exception):
            raise video
        chat.ask(video, QUESTION, max_new_tokens=new_tokens)
        chat.forget()  # the next one has the same content, and must be encoded all the same


if __name__ == "__main__":
    sys.exit(main())
