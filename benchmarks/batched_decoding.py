"""Answers decoded together at full size: tokens per second of 1, 4 and 16 at a time, on a CPU.

    python benchmarks/record.py benchmarks/results/batched-decoding.json -- \\
        python benchmarks/batched_decoding.py

Random weights, the visual prefix of a whole video, an answer each; with the torch engine in 8 bits
and with the ONNX engine in 4. Sizes take turns. Prints one JSON document.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict
from statistics import median
from typing import Any

import torch

from mobile_videogpt.benchmark.stand_in import random_checkpoint
from mobile_videogpt.chat import VideoChat
from mobile_videogpt.engines.base import GenerationOptions, Prefix
from mobile_videogpt.engines.batching import new_batch

SIZES = (1, 4, 16)
ROUNDS = 3
STEPS = 8


def main() -> None:
    """Measure every size in every round, with one engine after the other."""
    rows = [row for engine in ("torch", "onnx") for row in measure(engine)]
    threads = torch.get_num_threads()
    print(json.dumps({"preset": "0.5b", "threads": threads, "rows": rows}))


def measure(engine: str) -> list[dict[str, Any]]:
    """A row for each number of answers."""
    dtype = "int8" if engine == "torch" else "auto"
    chat = VideoChat(random_checkpoint("0.5b"), device="cpu", dtype=dtype, engine=engine)
    ids = chat.processor.prefix_ids()
    width = chat.config.text_config.hidden_size
    with torch.inference_mode():
        visual = torch.randn(1, chat.config.num_visual_tokens, width) * 0.02
        prefix = chat.engine.prefill(ids, visual)
    speeds: dict[int, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for size in SIZES:
            speeds[size].append(tokens_per_second(chat, prefix, size))
    return [
        {
            "engine": engine,
            "language_model": chat.engine.number_formats()["language_model"],
            "prefix": len(ids),
            "answers": size,
            "tokens_per_second": round(median(speeds[size]), 2),
            "all": [round(speed, 2) for speed in speeds[size]],
        }
        for size in SIZES
    ]


def tokens_per_second(chat: VideoChat, prefix: Prefix, size: int) -> float:
    """Of so many answers together, once all are under way."""
    batch = new_batch(chat.engine, size)
    options = GenerationOptions(max_new_tokens=STEPS + 4)
    for _ in range(size):
        batch.add(prefix, chat.processor.question_ids("What happens?"), options)
    batch.step()  # memory is touched for the first time
    under_way, start = len(batch), time.perf_counter()
    for _ in range(STEPS):
        batch.step()
    return under_way * STEPS / (time.perf_counter() - start)


if __name__ == "__main__":
    main()
