"""How the server does under load: clips per minute, many streams at once, overload.

    python benchmarks/record.py benchmarks/results/serving-load.json -- \\
        python benchmarks/serving_load.py

Prints one JSON document. Every answer is compared with what the model says without a server.
`--seconds` shortens the long part for a trial. Linux only (reads /proc).
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import itertools
import json
import random
import statistics
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

import httpx
from served import Served

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.synthetic import make_clip
from mobile_videogpt.synthetic.dataset import write_clip

QUESTIONS = ["What happens?", "How many objects are there?", "What color is the object?"]
TIMEOUT = httpx.Timeout(120.0)


def main() -> int:
    """Run all parts; returns 1 if any answer was wrong."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=float, default=120.0, help="of the many streams")
    parser.add_argument("--clients", type=int, default=200, help="streams at a time")
    parser.add_argument("--clips", type=int, default=24, help="different clips of the many streams")
    args = parser.parse_args()
    chat = VideoChat("moving-shapes", device="cpu", engine="torch")
    films = make_films(args.clips)
    expected = {
        (seed, question): chat.ask(io.BytesIO(film), question).text
        for (seed, film), question in itertools.product(films.items(), QUESTIONS)
    }
    document: dict[str, Any] = {"server": idle_server()}
    document["clips_per_minute"] = throughput(chat)
    document["streams"] = many_streams(films, expected, args.clients, args.seconds)
    document["overload"] = overload(films, expected)
    print(json.dumps(document))
    wrong = document["streams"]["wrong_answers"] + document["overload"]["wrong_answers"]
    wrong += sum(row["wrong_answers"] for row in document["clips_per_minute"])
    return 1 if wrong else 0


def make_films(count: int, first: int = 1000) -> dict[int, bytes]:
    """MovingShapes clips as mp4 files, by seed."""
    films = {}
    with tempfile.TemporaryDirectory() as folder:
        for seed in range(first, first + count):
            path = Path(folder) / f"{seed}.mp4"
            write_clip(make_clip(seed), path)
            films[seed] = path.read_bytes()
    return films


def idle_server() -> dict[str, Any]:
    """Start-up time and memory of a server that nobody asks."""
    with Served() as server:
        time.sleep(5)
        return {"start_up_s": server.start_up_s, **server.usage()}


def throughput(chat: VideoChat) -> list[dict[str, Any]]:
    """Clips per minute of 1, 4 and 16 clients, each of which asks about new clips only."""
    rows = []
    for number, clients in enumerate((1, 4, 16)):
        films = make_films(64, first=2000 + 100 * number)
        expected = {seed: chat.ask(io.BytesIO(film), QUESTIONS[0]) for seed, film in films.items()}
        with Served("--requests-per-minute", "0") as server:
            asyncio.run(one_question_each(server, make_films(2, first=1), 1))  # warm-up
            start, before = time.perf_counter(), server.metrics()
            answers = asyncio.run(one_question_each(server, films, clients))
            seconds, after = time.perf_counter() - start, server.metrics()
        wrong = sum(answers[seed] != expected[seed].text for seed in films)
        tokens, steps = (
            after[name] - before[name]
            for name in ("generated_tokens_total", "decoding_steps_total")
        )
        rows.append(
            {
                "clients": clients,
                "clips": len(films),
                "clips_per_minute": round(60 * len(films) / seconds, 1),
                "tokens_per_second": round(tokens / seconds, 1),
                "tokens_per_decoding_step": round(tokens / steps, 2),
                "wrong_answers": wrong,
            }
        )
        print(rows[-1], file=sys.stderr, flush=True)
    return rows


async def one_question_each(
    server: Served, films: dict[int, bytes], clients: int
) -> dict[int, str]:
    """The answers about all clips, by so many clients at a time."""
    waiting = list(films.items())
    answers: dict[int, str] = {}

    async def client(http: httpx.AsyncClient) -> None:
        while waiting:
            seed, film = waiting.pop()
            body = {"messages": messages(film, QUESTIONS[0])}
            reply = await http.post(f"{server.url}/v1/chat/completions", json=body)
            if reply.status_code != 200:
                raise RuntimeError(f"{reply.text}; {server.log}")
            answers[seed] = reply.json()["choices"][0]["message"]["content"]

    async with httpx.AsyncClient(timeout=TIMEOUT) as http:
        await asyncio.gather(*(client(http) for _ in range(clients)))
    return answers


def many_streams(
    films: dict[int, bytes], expected: dict[tuple[int, str], str], clients: int, seconds: float
) -> dict[str, Any]:
    """Streaming clients that ask question after question, and the server's memory meanwhile."""
    # A request counts until the server is done with it, a moment after its client is.
    room = str(2 * clients)
    options = ("--requests-per-minute", "0", "--max-requests", room, "--videos", "32")
    with Served(*options) as server:
        result = asyncio.run(stream_for(server, films, expected, clients, seconds))
        result["after"] = server.usage()
        result["metrics"] = server.metrics()
        result["log"] = server.log[:20]
    result["exit_code"] = server.exit_code
    print({k: v for k, v in result.items() if k != "memory"}, file=sys.stderr, flush=True)
    return result


async def stream_for(
    server: Served,
    films: dict[int, bytes],
    expected: dict[tuple[int, str], str],
    clients: int,
    seconds: float,
) -> dict[str, Any]:
    """So many clients for so long."""
    until = time.monotonic() + seconds
    outcomes: Counter[str] = Counter()
    firsts: list[float] = []
    memory: list[dict[str, float]] = []
    cases = list(expected)

    async def client(http: httpx.AsyncClient, number: int) -> None:
        rng = random.Random(number)
        while time.monotonic() < until:
            seed, question = rng.choice(cases)
            outcome, first_s = await streamed(http, server, films[seed], question)
            if isinstance(outcome, str):
                outcome = "right" if outcome == expected[seed, question] else "wrong"
                firsts.append(first_s)
            outcomes[str(outcome)] += 1

    async def watch() -> None:
        start = time.monotonic()
        while time.monotonic() < until:
            memory.append({"s": round(time.monotonic() - start, 1), **server.usage()})
            await asyncio.sleep(seconds / 24)

    limits = httpx.Limits(max_connections=None)
    async with httpx.AsyncClient(timeout=TIMEOUT, limits=limits) as http:
        await asyncio.gather(watch(), *(client(http, number) for number in range(clients)))
    third = len(memory) // 3
    return {
        "clients": clients,
        "seconds": seconds,
        "right_answers": outcomes["right"],
        "wrong_answers": outcomes["wrong"],
        "other_outcomes": {k: v for k, v in outcomes.items() if k not in ("right", "wrong")},
        "first_token_s": spread(firsts),
        "rss_mb_of_thirds": [
            round(statistics.mean(row["rss_mb"] for row in memory[place:][:third]), 1)
            for place in (0, third, 2 * third)
        ],
        "memory": memory,
    }


async def streamed(
    http: httpx.AsyncClient, server: Served, film: bytes, question: str
) -> tuple[str | int, float]:
    """The text of a streamed answer, or the status that refused it; and seconds to its first."""
    body = {"messages": messages(film, question), "stream": True}
    start, first_s, text = time.perf_counter(), 0.0, ""
    async with http.stream("POST", f"{server.url}/v1/chat/completions", json=body) as reply:
        if reply.status_code != 200:
            await reply.aread()
            return reply.status_code, 0.0
        async for line in reply.aiter_lines():
            if not line.startswith("data: {"):
                continue
            event = json.loads(line.removeprefix("data: "))
            if "error" in event:
                return 500, 0.0
            piece = event["choices"][0]["delta"].get("content") if event["choices"] else None
            if piece:
                first_s = first_s or time.perf_counter() - start
                text += piece
    return text, first_s


def overload(
    films: dict[int, bytes], expected: dict[tuple[int, str], str], clients: int = 64, room: int = 8
) -> dict[str, Any]:
    """More clients than there is room for: answered rightly or with 429, nothing else."""
    options = ("--requests-per-minute", "0", "--max-requests", str(room))
    with Served(*options) as server:
        result = asyncio.run(stream_for(server, films, expected, clients, 5.0))
        health = httpx.get(f"{server.url}/healthz").json()
    refused = result["other_outcomes"]
    return {
        "clients": clients,
        "max_requests": room,
        "right_answers": result["right_answers"],
        "wrong_answers": result["wrong_answers"],
        "refused": refused.pop("429", 0),
        "other_outcomes": refused,
        "health_afterwards": health["status"],
    }


def messages(film: bytes, question: str) -> list[dict[str, Any]]:
    """A video and a question."""
    url = f"data:video/mp4;base64,{base64.b64encode(film).decode()}"
    content = [
        {"type": "video_url", "video_url": {"url": url}},
        {"type": "text", "text": question},
    ]
    return [{"role": "user", "content": content}]


def spread(values: list[float]) -> dict[str, float]:
    """Median and tail in seconds."""
    ordered = sorted(values) or [0.0]
    return {
        "median": round(statistics.median(ordered), 3),
        "p95": round(ordered[int(0.95 * (len(ordered) - 1))], 3),
        "longest": round(ordered[-1], 3),
    }


if __name__ == "__main__":
    sys.exit(main())
