"""What every request passes before anything of it is read: who asks, how much, how often.

Plain ASGI, outside of the framework: a body that is too large is refused by its header, or as soon
as too much of it has come.
"""

from __future__ import annotations

import asyncio
import hashlib
import hmac
import re
import time
from collections import Counter, OrderedDict
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any

from mobile_videogpt.serving.errors import ApiError
from mobile_videogpt.serving.page.routes import is_page
from mobile_videogpt.serving.service import Service

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

COMPLETIONS = "/v1/chat/completions"
FRAMES = re.compile(r"/v1/files/[^/]+/frames")
OPEN_PATHS = frozenset({"/healthz"})
_LOCAL_NAMES = frozenset({"localhost", "127.0.0.1", "::1"})
_BODY_S = 60.0
_MOST_OWNERS = 10_000


class Gate:
    """Refuses requests, or lets them in with `scope["state"]`: `owner` and `deadline`.

    Args:
        app: what is behind it.
        service: whose settings hold.
        refuse: writes the response to a refused request.
    """

    def __init__(
        self,
        app: App,
        service: Service,
        refuse: Callable[[ApiError, Scope, Receive, Send], Awaitable[None]],
    ) -> None:
        self._app = app
        self._service = service
        self._settings = service.settings
        self._refuse = refuse
        self._rates = RateLimit(service.settings.requests_per_minute)
        self._pending_bytes = 0
        self.completions = 0
        """Completions and looks at videos under way."""
        self._by_owner: Counter[str] = Counter()
        # With several keys none takes all of the room.
        most, keys = service.settings.max_requests, service.settings.api_keys
        self._share = most if len(keys) < 2 else max(1, most * 3 // 4)

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one connection's request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        arrived = time.monotonic()
        try:
            owner = self._check(scope)
        except ApiError as error:
            await self._refuse(error, scope, receive, send)
            return
        scope.setdefault("state", {})
        scope["state"]["owner"] = owner
        scope["state"]["deadline"] = arrived + self._settings.request_timeout_s
        is_work = needs_model(scope)
        self._count(owner, is_work)
        body = _Body(self, receive, arrived + _BODY_S)
        try:
            await self._app(scope, body.receive, send)
        finally:
            self._count(owner, -is_work)
            body.forget()

    def _count(self, owner: str, work: int) -> None:
        """A request's work begins, or is over."""
        self.completions += work
        self._by_owner[owner] += work
        if not self._by_owner[owner]:
            del self._by_owner[owner]

    def _check(self, scope: Scope) -> str:
        """Who asks, if they may."""
        headers = {name: value.decode("latin-1") for name, value in scope["headers"]}
        self._check_host(headers.get(b"host", ""))
        if scope["path"] in OPEN_PATHS or is_page(scope["path"]):
            return ""
        owner = self._identify(headers.get(b"authorization", ""), scope)
        is_work = needs_model(scope)
        if scope["method"] != "POST" and not is_work:
            return owner
        if self._service.is_draining:
            raise ApiError(503, "the server is shutting down", "shutting_down", None, 5.0)
        self._check_length(headers.get(b"content-length"))
        wait_s = self._rates.take(owner)
        if wait_s:
            raise ApiError(
                429, "too many requests in a minute: wait a moment", "rate_limited", None, wait_s
            )
        is_full = self.completions >= self._settings.max_requests
        if is_work and (is_full or self._by_owner[owner] >= self._share):
            raise ApiError(
                429, "the server is busy with other requests: try again", "overloaded", None, 1.0
            )
        return owner

    def _check_host(self, host: str) -> None:
        """A page elsewhere may let its own name point here: only this machine's names count.

        With keys there is no need: the page does not know any.
        """
        if not self._settings.is_local or self._settings.api_keys:
            return
        name = host.rsplit(":", 1)[0] if not host.endswith("]") else host
        if name.strip("[]").lower() not in _LOCAL_NAMES | {self._settings.host}:
            raise ApiError(403, "this server answers to localhost only", "wrong_host")

    def _identify(self, authorization: str, scope: Scope) -> str:
        """A name for the client: of its key, or of its address where there are no keys."""
        if not self._settings.api_keys:
            client = scope.get("client")
            return f"address {client[0]}" if client else "address unknown"
        scheme, _, key = authorization.partition(" ")
        given = key.strip().encode("latin-1", "replace")
        # All of them are compared, each in constant time: the time says nothing about any.
        known = [
            hmac.compare_digest(given, allowed.encode()) for allowed in self._settings.api_keys
        ]
        if scheme.lower() != "bearer" or not any(known):
            raise ApiError(401, "give a valid API key as bearer token", "invalid_api_key")
        return f"key {hashlib.sha256(given).hexdigest()}"

    def _check_length(self, length: str | None) -> None:
        if length is not None and length.isdigit():
            self.check_size(int(length))

    def check_size(self, size: int) -> None:
        """Refuse a body of so many bytes if it is too large.

        Raises:
            ApiError: it is.
        """
        if size > self._settings.max_body_bytes:
            raise ApiError(
                413,
                f"the request has more than {self._settings.max_body_bytes} bytes: send a smaller "
                "video",
                "request_too_large",
            )

    def take_bytes(self, count: int) -> None:
        """Count what has come of bodies.

        Raises:
            ApiError: all bodies together take more than they may.
        """
        self._pending_bytes += count
        if self._pending_bytes > self._settings.max_pending_bytes:
            raise ApiError(429, "the server is busy with other videos", "overloaded", None, 2.0)

    def give_back_bytes(self, count: int) -> None:
        """The opposite of `take_bytes`."""
        self._pending_bytes -= count


def needs_model(scope: Scope) -> bool:
    """Whether a request has the model work, however small it is itself."""
    if scope["method"] == "GET":
        return FRAMES.fullmatch(scope["path"]) is not None
    return scope["path"] == COMPLETIONS and scope["method"] == "POST"


class _Body:
    """Counts one request's body as it comes."""

    def __init__(self, gate: Gate, receive: Receive, until: float) -> None:
        self._gate = gate
        self._receive = receive
        self._until = until
        self._size = 0
        self._is_complete = False

    async def receive(self) -> Message:
        """The next message, as long as the body is small and comes in time."""
        if self._is_complete:
            return await self._receive()
        try:
            async with asyncio.timeout(self._until - time.monotonic()):
                message = await self._receive()
        except TimeoutError:
            raise ApiError(408, "the request came too slowly: send it again", "timeout") from None
        if message["type"] == "http.request":
            self._is_complete = not message.get("more_body", False)
            count = len(message.get("body", b""))
            self._size += count  # before it may be refused: `forget` gives all of it back
            self._gate.take_bytes(count)
            self._gate.check_size(self._size)
        return message

    def forget(self) -> None:
        """The request is over."""
        self._gate.give_back_bytes(self._size)


class RateLimit:
    """So many requests per minute and client, a minute's worth of them at once.

    Args:
        per_minute: 0 for no limit.
    """

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left: OrderedDict[str, tuple[float, float]] = OrderedDict()

    def take(self, owner: str) -> float:
        """Count a request; 0, or the seconds after which one will be allowed."""
        if not self._per_minute:
            return 0.0
        now, rate = time.monotonic(), self._per_minute / 60
        left, since = self._left.get(owner, (float(self._per_minute), now))
        left = min(self._per_minute, left + (now - since) * rate)
        self._left[owner] = (left - 1 if left >= 1 else left, now)
        self._left.move_to_end(owner)
        while len(self._left) > _MOST_OWNERS:
            self._left.popitem(last=False)
        return 0.0 if left >= 1 else (1 - left) / rate
