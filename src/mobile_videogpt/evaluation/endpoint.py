"""A chat model behind an OpenAI-compatible address: asked politely, and never twice the same.

Used for the judge of open answers and for other models' answers to MovingShapes. Plain HTTP of the
standard library: one POST per question needs no client package.
"""

from __future__ import annotations

import hashlib
import http.client
import json
import logging
import os
import random
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from email.message import Message
from itertools import islice
from pathlib import Path
from typing import Any

from ..files import write_json

logger = logging.getLogger(__name__)

DEFAULT_URL = "https://api.openai.com/v1"
KEY_VARIABLE = "OPENAI_API_KEY"
_PATH = "/chat/completions"
# The server was busy or broke: the same request may succeed later. Other codes are final.
_TEMPORARY = frozenset({408, 409, 425, 429})
_LONGEST_WAIT_S = 60.0
# Requests are kept beside their replies for whoever wonders; those with pictures in them are not.
_LONGEST_KEPT_REQUEST = 20_000

Body = dict[str, Any]


class EndpointError(ValueError):
    """A request that was given up; the message says what the server did."""


class _TemporaryError(Exception):
    """A failure that may pass; `after_s` is when the server wants to hear from us again."""

    def __init__(self, reason: str, after_s: float | None = None) -> None:
        super().__init__(reason)
        self.after_s = after_s


class _NoRedirects(urllib.request.HTTPRedirectHandler):
    """A redirect would carry the key to another host: it counts as an error instead."""

    def redirect_request(self, *args: Any) -> None:
        return None


@dataclass(frozen=True)
class Endpoint:
    """Where requests go and how.

    Args:
        base_url: such as https://api.openai.com/v1 or http://localhost:8000/v1.
        model: goes into every request that names none.
        key_variable: the environment variable that holds the key; a server without keys needs none.
        cache_dir: replies are kept here, one file a request; None keeps nothing.
        concurrency: requests under way at a time.
        tries: how often a request is sent before it is given up.
        wait_s: seconds before the second try; doubled each time, with some chance added.
        timeout_s: seconds that a reply may take.

    Raises:
        ValueError: the address is not http(s), or a number is not positive.
    """

    base_url: str
    model: str
    key_variable: str = KEY_VARIABLE
    cache_dir: Path | None = None
    concurrency: int = 4
    tries: int = 5
    wait_s: float = 5.0
    timeout_s: float = 60.0

    def __post_init__(self) -> None:
        if not self.base_url.startswith(("http://", "https://")):
            raise ValueError(
                f"the endpoint {self.base_url!r} is no address; "
                f"give one that begins with http:// or https://, such as {DEFAULT_URL}"
            )
        if self.concurrency < 1 or self.tries < 1:
            raise ValueError("an endpoint needs a concurrency and a number of tries of at least 1")

    @property
    def url(self) -> str:
        """The address that requests are sent to."""
        return self.base_url.rstrip("/").removesuffix(_PATH) + _PATH

    def complete(self, body: Body, accept: Callable[[str], bool] = bool) -> str:
        """The text that answers one request; from the cache if it was answered before.

        Args:
            body: of a chat completion; `model` is added where it is missing.
            accept: a reply that it refuses is asked for again, and never kept.

        Raises:
            EndpointError: there was no acceptable reply after all tries, or the server refused.
        """
        body = {"model": self.model, **body}
        kept = self._cache_path(body)
        if kept is not None and (reply := _read_reply(kept)) is not None and accept(reply):
            return reply
        reply = self._ask(body, accept)
        if kept is not None:
            _keep(kept, {"url": self.url, "request": body, "reply": reply})
        return reply

    def complete_each(
        self, bodies: Iterable[Body], accept: Callable[[str], bool] = bool
    ) -> Iterator[tuple[int, str | EndpointError]]:
        """Answer many requests at once, up to `concurrency`.

        Yields:
            (place in `bodies`, the reply or why there is none), as they come. `bodies` is read only
            as far as there is room, so that large ones need not all be in memory.
        """
        waiting = enumerate(bodies)
        running: dict[Future[str], int] = {}
        pool = ThreadPoolExecutor(self.concurrency, thread_name_prefix="endpoint")
        try:
            while True:
                for place, body in islice(waiting, self.concurrency - len(running)):
                    running[pool.submit(self.complete, body, accept)] = place
                if not running:
                    return
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(future), _result(future)
        finally:
            pool.shutdown(wait=False, cancel_futures=True)

    def _ask(self, body: Body, accept: Callable[[str], bool]) -> str:
        for attempt in range(1, self.tries + 1):
            try:
                reply = self._send(body)
                if not accept(reply):
                    raise _TemporaryError(f"the reply {_short(reply)} makes no sense")
                return reply
            except _TemporaryError as failure:
                if attempt == self.tries:
                    raise EndpointError(
                        f"{self.url} gave no usable reply in {self.tries} tries; the last time: "
                        f"{failure}"
                    ) from failure
                pause = self._pause(attempt, failure.after_s)
                logger.info("%s: %s; again in %.1f s", self.url, failure, pause)
                time.sleep(pause)
        raise AssertionError("at least one try")

    def _pause(self, attempt: int, after_s: float | None) -> float:
        if after_s is not None:
            return min(after_s, _LONGEST_WAIT_S)
        # Chance spreads the tries of requests that were refused together.
        pause: float = self.wait_s * 2 ** (attempt - 1) * (1 + random.random() / 4)
        return min(pause, _LONGEST_WAIT_S)

    def _send(self, body: Body) -> str:
        """One try: the reply's text."""
        headers = {"Content-Type": "application/json"}
        if key := os.environ.get(self.key_variable, "").strip():
            headers["Authorization"] = f"Bearer {key}"
        request = urllib.request.Request(
            self.url, json.dumps(body).encode(), headers, method="POST"
        )
        opener = urllib.request.build_opener(_NoRedirects)
        try:
            with opener.open(request, timeout=self.timeout_s) as response:
                content = response.read()
        except urllib.error.HTTPError as error:
            raise self._http_failure(error) from error
        except (OSError, http.client.HTTPException) as error:  # none, a broken one, a timeout
            raise _TemporaryError(f"no connection ({error})") from error
        return _text_of(content)

    def _http_failure(self, error: urllib.error.HTTPError) -> Exception:
        detail = _short(error.read(2000).decode("utf-8", "replace"))
        if error.code in _TEMPORARY or error.code >= 500:
            return _TemporaryError(f"status {error.code}: {detail}", _retry_after(error.headers))
        hint = ""
        if error.code in (401, 403):
            hint = f"; set the environment variable {self.key_variable} to a valid key"
        return EndpointError(f"{self.url} refused with status {error.code}: {detail}{hint}")

    def _cache_path(self, body: Body) -> Path | None:
        if self.cache_dir is None:
            return None
        text = json.dumps([self.url, body], sort_keys=True)
        name = hashlib.sha256(text.encode()).hexdigest()
        return self.cache_dir / name[:2] / f"{name}.json"


def _text_of(content: bytes) -> str:
    try:
        text = json.loads(content)["choices"][0]["message"]["content"]
    except (ValueError, LookupError, TypeError) as error:
        shown = _short(content.decode("utf-8", "replace"))
        raise _TemporaryError(f"the body {shown} holds no reply") from error
    if not isinstance(text, str) or not text.strip():
        raise _TemporaryError("an empty reply")
    return text.strip()


def _retry_after(headers: Message) -> float | None:
    try:
        return max(0.0, float(headers.get("Retry-After", "")))
    except ValueError:  # missing, or a date
        return None


def _keep(path: Path, document: dict[str, Any]) -> None:
    if len(json.dumps(document["request"])) > _LONGEST_KEPT_REQUEST:
        del document["request"]
    path.parent.mkdir(parents=True, exist_ok=True)
    write_json(path, document, indent=1)


def _read_reply(path: Path) -> str | None:
    try:
        reply = json.loads(path.read_text(encoding="utf-8"))["reply"]
    except (OSError, ValueError, LookupError, TypeError):
        return None
    return reply if isinstance(reply, str) else None


def _result(future: Future[str]) -> str | EndpointError:
    try:
        return future.result()
    except EndpointError as error:
        return error


def _short(text: str) -> str:
    flat = " ".join(text.split())
    return repr(flat if len(flat) <= 200 else f"{flat[:200]}...")
