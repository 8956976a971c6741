"""Answers decoded together at full size: tokens per second of 1, 4 and 16 at a time, on a CPU.

    python benchmarks/record.py benchmarks/results/batched-decoding.json -- \\
        python benchmarks/batched_decoding.py

Random weights in 8 bits, the visual prefix of a whole video, an answer each. Sizes take turns. On a
machine that is busy, set OMP_NUM_THREADS=1: threads that wait for one another measure the others.
Prints one JSON document.
"""

from __future__ import annotations

import json
import time
from collections import defaultdict

import torch

from mobile_videogpt.benchmark.stand_in import random_checkpoint
from mobile_videogpt.chat import VideoChat
from mobile_videogpt.engines.base import GenerationOptions, Prefix
from mobile_videogpt.engines.batching import new_batch

SIZES = (1, 4, 16)
ROUNDS = 3
STEPS = 8


def main() -> None:
    """Measure every size in every round."""
    chat = VideoChat(random_checkpoint("0.5b"), device="cpu", dtype="int8", engine="torch")
    ids = chat.processor.prefix_ids()
    width = chat.config.text_config.hidden_size
    with torch.inference_mode():
        visual = torch.randn(1, chat.config.num_visual_tokens, width) * 0.02
        prefix = chat.engine.prefill(ids, visual)
    speeds: dict[int, list[float]] = defaultdict(list)
    for _ in range(ROUNDS):
        for size in SIZES:
            speeds[size].append(tokens_per_second(chat, prefix, size))
    rows = [
        {
            "answers": size,
            # What else the machine does only slows it down: the fastest round is the measure.
            "tokens_per_second": round(max(speeds[size]), 2),
            "all": [round(speed, 2) for speed in speeds[size]],
        }
        for size in SIZES
    ]
    threads = torch.get_num_threads()
    print(json.dumps({"preset": "0.5b", "prefix": len(ids), "threads": threads, "rows": rows}))


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
