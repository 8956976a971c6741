"""EgoSchema's full set: the file that its server scores, and sending it there when asked to."""

from __future__ import annotations

import http.client
import json
import logging
import re
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path

from ..files import write_atomically

logger = logging.getLogger(__name__)

SERVER = "https://validation-server.onrender.com/api/upload/"
_WAITS_S = (5, 10, 15, 20, 25, 30, 30)  # between eight tries: the server wakes up slowly
_TIMEOUT_S = 60.0
_RESULT = re.compile(
    r"Total result: (\d+) correct, (\d+) wrong, (\d+) missing, (\d+) invalid, accuracy: (\d+\.?\d*)"
)

# One try: sends a body to an address and returns status and text; raises OSError for no answer.
Post = Callable[[str, bytes, Mapping[str, str], float], tuple[int, str]]


class SubmissionError(RuntimeError, ValueError):
    """The server gave no score; the message says what it did instead."""


def write_submission(answers: Mapping[str, int], folder: Path, now: datetime | None = None) -> Path:
    """Write `submissions/inference_results_egoschema_MC_<date-time>.json` below `folder`."""
    time_of_day = (now or datetime.now()).strftime("%Y-%m-%d-%H-%M-%S")
    path = folder / "submissions" / f"inference_results_egoschema_MC_{time_of_day}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, json.dumps(dict(answers), indent=4).encode())
    return path


def submit(
    answers: Mapping[str, int],
    url: str = SERVER,
    post: Post | None = None,
    sleep: Callable[[float], object] = time.sleep,
) -> float:
    """Send a submission to the server; its accuracy on the full set, in percent.

    A server that is away or breaks is asked again, eight times in all.

    Raises:
        SubmissionError: no reply with status 200, or one without a result.
    """
    body = json.dumps(dict(answers)).encode()
    headers = {"Content-Type": "application/json"}
    reason = ""
    for wait_s in (*_WAITS_S, None):
        try:
            status, text = (post or _post)(url, body, headers, _TIMEOUT_S)
        except (OSError, http.client.HTTPException) as error:
            reason = f"no answer ({error})"
        else:
            if status == 200:
                return _accuracy(text)
            reason = f"status {status}"
        if wait_s is not None:
            logger.info("EgoSchema's server: %s; again in %d s", reason, wait_s)
            sleep(wait_s)
    raise SubmissionError(
        f"EgoSchema's server gave no result in {len(_WAITS_S) + 1} tries; the last time: {reason}; "
        "the submission file can be sent later"
    )


def _accuracy(text: str) -> float:
    result = _RESULT.search(text)
    if result is None:
        raise SubmissionError(f"EgoSchema's server replied without a result: {text[:200]!r}")
    return 100 * float(result[5])


def _post(url: str, body: bytes, headers: Mapping[str, str], timeout_s: float) -> tuple[int, str]:
    request = urllib.request.Request(url, body, dict(headers), method="POST")
    try:
        with urllib.request.urlopen(request, timeout=timeout_s) as response:
            return response.status, response.read().decode("utf-8", "replace")
    except urllib.error.HTTPError as error:
        return error.code, error.read().decode("utf-8", "replace")
