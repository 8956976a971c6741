"""What a server takes before anybody asks, and after one question: seconds and memory.

    python benchmarks/record.py benchmarks/results/serving-footprint.json -- \\
        python benchmarks/serving_footprint.py

Prints one JSON document. Every model is served several times, one after the other; start-up is from
the start of the process to the first healthy answer. `footprint_table.py` puts the medians into
docs/deployment.md. Linux only (reads /proc).
"""

from __future__ import annotations

import argparse
import base64
import json
import statistics
import sys
import time
from pathlib import Path
from typing import Any

import httpx
from served import PAGE, Served

from mobile_videogpt.benchmark.stand_in import random_checkpoint

ROOT = Path(__file__).parents[1]
CLIP = ROOT / "examples" / "shapes-1.mp4"
AT_REST_S = 5.0  # after the start, before memory is read


def main() -> int:
    """Serve each model, print what was measured."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--starts", type=int, default=5, help="of each model")
    args = parser.parse_args()
    models = {
        "moving-shapes": ["--model", "moving-shapes"],
        "0.5b, random weights": [
            "--model",
            str(random_checkpoint("0.5b")),
            "--served-name",
            "0.5b",
        ],
    }
    rows = []
    for name, options in models.items():
        starts = [one_start(options) for _ in range(args.starts)]
        row = {"model": name, "starts": starts, "median": median(starts)}
        print(name, row["median"], file=sys.stderr, flush=True)
        rows.append(row)
    print(json.dumps({"models": rows}))
    return 0


def one_start(options: list[str]) -> dict[str, float]:
    """A server from its start to its first answer."""
    start = time.perf_counter()
    with Served(*options) as server:
        while httpx.get(f"{server.url}/healthz").status_code != 200:
            time.sleep(0.01)
        healthy = time.perf_counter() - start
        time.sleep(AT_REST_S)
        at_rest = server.usage()["rss_mb"]
        asked = time.perf_counter()
        ask(server)
        return {
            "healthy_s": round(healthy, 2),
            "rss_at_rest_mb": at_rest,
            "first_answer_s": round(time.perf_counter() - asked, 2),
            "rss_after_answer_mb": server.usage()["rss_mb"],
            "rss_of_decoders_mb": decoders_mb(server),
        }


def ask(server: Served) -> None:
    """One question about an example clip, answered in at most 16 tokens."""
    film = base64.b64encode(CLIP.read_bytes()).decode()
    content: list[dict[str, Any]] = [
        {"type": "video_url", "video_url": {"url": f"data:video/mp4;base64,{film}"}},
        {"type": "text", "text": "How many objects move?"},
    ]
    body = {"messages": [{"role": "user", "content": content}], "max_tokens": 16}
    reply = httpx.post(f"{server.url}/v1/chat/completions", json=body, timeout=300)
    if reply.status_code != 200:
        raise RuntimeError(f"{reply.text}; {server.log}")


def decoders_mb(server: Served) -> float:
    """Memory of the processes that the server started to open clients' files."""
    tasks = Path(f"/proc/{server.process_id}/task").glob("*/children")
    children = [child for path in tasks for child in path.read_text().split()]
    pages = [int(Path(f"/proc/{child}/statm").read_text().split()[1]) for child in children]
    return round(sum(pages) * PAGE / 1e6, 1)


def median(starts: list[dict[str, float]]) -> dict[str, float]:
    """Of every figure."""
    return {key: statistics.median(start[key] for start in starts) for key in starts[0]}


if __name__ == "__main__":
    sys.exit(main())
