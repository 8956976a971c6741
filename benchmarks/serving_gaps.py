"""How long an answer that is being streamed waits while other clients send new, large videos.

    python benchmarks/record.py benchmarks/results/serving-gaps.json -- \\
        python benchmarks/serving_gaps.py

A full-size model with random weights (preset 0.5b). One client streams a long answer; another sends
new videos in full HD, one after the other, and is timed with and without the first. The same once
more with a server that does nothing in the engine's pauses. `cpu` are seconds that the server's
process computed: what else the machine does counts less. Prints one JSON document.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import json
import os
import statistics
import sys
import tempfile
import time
from itertools import chain, pairwise
from pathlib import Path
from typing import Any, NamedTuple

import av
import httpx
import numpy as np
from served import Served

from mobile_videogpt.benchmark.stand_in import random_checkpoint
from mobile_videogpt.cli import main as cli
from mobile_videogpt.serving.scheduling.scheduler import Scheduler

TIMEOUT = httpx.Timeout(600.0)
SIZE, SECONDS, RATE = (1920, 1080), 16, 4
QUESTION = "What happens?"


class Arrival(NamedTuple):
    """When a piece of the streamed answer came."""

    time_s: float
    cpu_s: float
    """What the server had computed by then."""


def main() -> None:
    """Measure a few rounds."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--engine", default="torch")
    parser.add_argument("--model", help="a folder; default: random weights")
    parser.add_argument("--dtype", default="int8")
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    model = args.model or str(random_checkpoint("0.5b"))
    films = [film(seed) for seed in range(2 * args.rounds + 2)]
    options = ("--engine", args.engine, "--dtype", args.dtype, "--request-timeout", "600")
    options += ("--model", model, "--served-name", "model")
    document: dict[str, Any] = {"preset": "0.5b", "engine": args.engine, "dtype": args.dtype}
    document |= {"video": [*SIZE], "threads": os.environ.get("OMP_NUM_THREADS", "all")}
    for name, program in (("in_one_go", (__file__,)), ("in_pieces", ("-m", "mobile_videogpt"))):
        with Served(*options, program=program) as server:
            document[name] = asyncio.run(measure(server, films))
    print(json.dumps(document))


def serve_in_one_go() -> int:
    """The server, but for what it does while a video is taken in."""
    Scheduler._meanwhile = lambda _: None  # type: ignore[method-assign]
    return cli.main()


def film(seed: int) -> bytes:
    """A video whose frames are all different, as MP4."""
    random = np.random.default_rng(seed)
    picture = random.integers(0, 256, (SIZE[1] // 60, SIZE[0] // 60, 3), np.uint8)
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "film.mp4"
        with av.open(str(path), "w") as container:
            stream = container.add_stream("mpeg4", rate=RATE)
            stream.width, stream.height = SIZE
            stream.pix_fmt = "yuv420p"
            for number in range(SECONDS * RATE):
                large = np.roll(picture, number, 1).repeat(60, 0).repeat(60, 1)
                frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(large), format="rgb24")
                container.mux(stream.encode(frame))
            container.mux(stream.encode())
        return path.read_bytes()


async def measure(server: Served, films: list[bytes]) -> dict[str, Any]:
    """The longest waits of the stream, alone and beside newcomers; and the newcomers' seconds."""
    streamed, warm_up, *others = films
    async with httpx.AsyncClient(timeout=TIMEOUT) as http:
        await newcomer(http, server, warm_up)
        alone = [await newcomer(http, server, data) for data in others[::2]]
        arrivals: list[Arrival] = []
        stream = asyncio.create_task(read_stream(http, server, streamed, arrivals))
        await until(lambda: len(arrivals) > 10, stream)
        quiet = (time.perf_counter(), await passed(10.0))
        spans = []
        for data in others[1::2]:
            start = time.perf_counter()
            await newcomer(http, server, data)
            spans.append((start, time.perf_counter()))
        stream.cancel()
    return {
        "stream_alone": waits(arrivals, [quiet]),
        "stream_beside_newcomers": waits(arrivals, spans),
        "newcomer_alone_s": [round(seconds, 2) for seconds in alone],
        "newcomer_beside_the_stream_s": [round(end - start, 2) for start, end in spans],
    }


async def passed(seconds: float) -> float:
    """The time, so much later."""
    await asyncio.sleep(seconds)
    return time.perf_counter()


async def until(condition: Any, stream: asyncio.Task[None]) -> None:
    """Wait for a condition, or raise what ended the stream."""
    while not condition():
        await asyncio.sleep(0.05)
        if stream.done():
            raise RuntimeError(f"the stream ended: {stream.exception()}")


async def newcomer(http: httpx.AsyncClient, server: Served, data: bytes) -> float:
    """Ask about a new video; the seconds to its answer of one token."""
    start = time.perf_counter()
    body = {"messages": messages(data), "max_tokens": 1}
    reply = await http.post(f"{server.url}/v1/chat/completions", json=body)
    reply.raise_for_status()
    return time.perf_counter() - start


async def read_stream(
    http: httpx.AsyncClient, server: Served, data: bytes, arrivals: list[Arrival]
) -> None:
    """Note when each piece of a long answer comes."""
    # Sampled, and from few tokens: a random model repeats itself, or says the end.
    body = {"messages": messages(data), "max_tokens": 8000, "stream": True, "temperature": 1}
    async with http.stream("POST", f"{server.url}/v1/chat/completions", json=body) as reply:
        reply.raise_for_status()
        async for line in reply.aiter_lines():
            if line.startswith("data: {"):
                arrivals.append(Arrival(time.perf_counter(), server.cpu_s()))
    raise RuntimeError("it said all that it may")


def messages(data: bytes) -> list[dict[str, Any]]:
    """A video and a question."""
    url = f"data:video/mp4;base64,{base64.b64encode(data).decode()}"
    content = [
        {"type": "video_url", "video_url": {"url": url}},
        {"type": "text", "text": QUESTION},
    ]
    return [{"role": "user", "content": content}]


def waits(arrivals: list[Arrival], spans: list[tuple[float, float]]) -> dict[str, Any]:
    """Seconds between two pieces of which one came, or should have come, within the spans."""
    rows = [
        [(b, a) for b, a in pairwise(arrivals) if a.time_s > start and b.time_s < end]
        for start, end in spans
    ]
    times = [[after.time_s - before.time_s for before, after in row] for row in rows]
    computed = [[after.cpu_s - before.cpu_s for before, after in row] for row in rows]
    result: dict[str, Any] = {"pieces": [len(row) for row in rows]}
    for name, found in (("s", times), ("cpu_s", computed)):
        result[f"median_{name}"] = round(statistics.median(chain(*found)), 3)
        result[f"longest_of_each_{name}"] = [round(max(row), 3) for row in found]
    print(result, file=sys.stderr, flush=True)
    return result


if __name__ == "__main__":
    if sys.argv[1:2] == ["serve"]:
        sys.exit(serve_in_one_go())
    main()
