"""Hundreds of broken and hostile requests to a server; then it must still answer rightly.

    python benchmarks/record.py benchmarks/results/serving-hostile.json -- \\
        python benchmarks/serving_hostile.py

Prints one JSON document; exits with 1 if a request crashed or hung the server, or was answered with
500 or more. Linux only (reads /proc).
"""

from __future__ import annotations

import json
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import httpx
from hostile_inputs import Hostile, good_request, hostile_inputs
from served import Served

# Beyond the server's own limit of 20 s for a file, under a machine's ordinary load.
HANGS_S = 60.0
# What the first round leaves, the others must not add to.
ROUNDS = 5


def main() -> int:
    """Send everything, four at a time."""
    options = ("--requests-per-minute", "0", "--decoders", "2")
    with Served(*options) as server:
        first = answer(server)
        before = server.usage()
        start = time.perf_counter()
        results, after = [], []
        for _ in range(ROUNDS):
            with ThreadPoolExecutor(4) as pool:
                results += pool.map(lambda item: send(server, item), hostile_inputs())
            after.append(server.usage())
            print(after[-1], file=sys.stderr, flush=True)
        seconds = time.perf_counter() - start
        document = summary(results)
        document |= {"rounds": ROUNDS, "all_seconds": round(seconds, 1)}
        document |= {"before": before, "after_each_round": after}
        document["same_answer_afterwards"] = answer(server) == first
        document["decoder_deaths"] = server.metrics()["decoder_deaths_total"]
        document["tracebacks_in_log"] = sum("Traceback" in line for line in server.log)
        document["is_alive"] = server.is_alive
    document["exit_code"] = server.exit_code
    print(json.dumps(document))
    bad = document["failed"] or document["exit_code"] or not document["same_answer_afterwards"]
    return 1 if bad else 0


def send(server: Served, item: Hostile) -> tuple[Hostile, int | str, float]:
    """The status of the response, or what happened instead; and how long it took."""
    start = time.perf_counter()
    try:
        reply = httpx.post(
            f"{server.url}{item.path}", content=item.body, headers=item.headers, timeout=HANGS_S
        )
        status: int | str = reply.status_code
        if status != 200 and set(reply.json()["error"]) != {"message", "type", "param", "code"}:
            status = "an error in another form"
        if "Traceback" in reply.text:
            status = "a traceback"
    except Exception as error:
        # A body that is refused by its header is not read: the connection may break meanwhile.
        is_refused = isinstance(error, httpx.WriteError) and len(item.body) > 64_000_000
        status = 413 if is_refused else type(error).__name__
    return item, status, time.perf_counter() - start


def answer(server: Served) -> str:
    """What the server says to a good request."""
    item = good_request()
    reply = httpx.post(
        f"{server.url}{item.path}", content=item.body, headers=item.headers, timeout=60
    )
    return str(reply.json()["choices"][0]["message"]["content"])


def summary(results: list[tuple[Hostile, int | str, float]]) -> dict[str, Any]:
    """Counts, and whatever should not have happened."""
    kinds: dict[str, Counter[str]] = {}
    for item, status, _ in results:
        kinds.setdefault(item.kind.split(":")[0], Counter())[str(status)] += 1
    failed = [
        {"kind": item.kind, "status": status, "seconds": round(seconds, 1)}
        for item, status, seconds in results
        if not isinstance(status, int) or status >= 500 or seconds > HANGS_S
    ]
    slowest = sorted(results, key=lambda result: -result[2])[:5]
    return {
        "requests": len(results),
        "statuses": dict(Counter(str(status) for _, status, _ in results)),
        "by_kind": {kind: dict(counts) for kind, counts in sorted(kinds.items())},
        "slowest": [{"kind": item.kind, "seconds": round(s, 1)} for item, _, s in slowest],
        "failed": failed,
    }


if __name__ == "__main__":
    sys.exit(main())
