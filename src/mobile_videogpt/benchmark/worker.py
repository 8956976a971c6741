"""The process that one contestant lives in: reads orders, one JSON object a line, and answers each.

    python -m mobile_videogpt.benchmark.worker '{"kind": "ours", ...}'

Orders are `prepare`, `load`, `warm_up`, `run`, `extras` and `ceiling`; the end of input ends it.
Answers go to the standard output that the process was started with; whatever libraries print there
is sent to standard error instead, because it would break the protocol.
"""

from __future__ import annotations

import json
import os
import sys
import traceback
from collections.abc import Callable
from typing import Any, TextIO

from mobile_videogpt.benchmark.contestant import NotOfferedError, make_contestant
from mobile_videogpt.benchmark.process_memory import peak_rss_bytes
from mobile_videogpt.benchmark.settings import Settings


def main(argv: list[str]) -> int:
    """Serve orders until standard input ends."""
    answers = _take_standard_output()
    settings = Settings(**json.loads(argv[0]))
    _quiet_libraries(settings.threads)
    contestant = make_contestant(settings)

    def ceiling() -> dict[str, Any]:
        from mobile_videogpt.benchmark.ceiling import measure_ceiling

        return measure_ceiling(settings.device)

    orders: dict[str, Callable[[], Any]] = {
        "prepare": getattr(contestant, "prepare", dict),
        "load": contestant.load,
        "warm_up": contestant.warm_up,
        "run": contestant.run,
        "extras": contestant.extras,
        "ceiling": ceiling,
    }
    for line in sys.stdin:
        answer = obey(orders[json.loads(line)["do"]], settings.is_debugged)
        print(json.dumps(answer), file=answers, flush=True)
    return 0


def obey(order: Callable[[], Any], is_debugged: bool = False) -> dict[str, Any]:
    """Carry out one order; what it found, or in one line why not."""
    try:
        found = order()
    except NotOfferedError as reason:
        return {"not_offered": str(reason)}
    except Exception as error:
        is_refusal = isinstance(error, (ValueError, OSError, ImportError))  # written for users
        if is_debugged or not is_refusal:
            traceback.print_exc()
        return (
            {"refused": str(error)} if is_refusal else {"error": f"{type(error).__name__}: {error}"}
        )
    peak = peak_rss_bytes()
    return {"found": found, "peak_rss_gb": None if peak is None else round(peak / 1e9, 3)}


def _take_standard_output() -> TextIO:
    """Standard output for ourselves; file descriptor 1 leads to standard error from here on."""
    answers = os.fdopen(os.dup(1), "w", encoding="utf-8")
    sys.stdout.flush()
    os.dup2(2, 1)
    return answers


def _quiet_libraries(threads: int | None) -> None:
    import warnings

    import torch
    import transformers

    if threads is not None:
        torch.set_num_threads(threads)
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
