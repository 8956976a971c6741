"""`POST /v1/chat/completions`: one document, or a stream of events."""

from __future__ import annotations

import asyncio
import json
import logging
import secrets
import time
from collections.abc import AsyncIterator, Awaitable, Callable, MutableMapping
from contextlib import aclosing, suppress
from typing import Any, TypeVar

from fastapi import Request
from fastapi.responses import JSONResponse, Response

from mobile_videogpt.serving.errors import ApiError, internal_error
from mobile_videogpt.serving.jobs import Ended, Event, Finished, Piece, Started
from mobile_videogpt.serving.service import Service

logger = logging.getLogger(__name__)

T = TypeVar("T")
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]

# A client that reads nothing for so long is gone.
_STALLED_S = 30.0


class Completion:
    """The documents that tell a client about one request.

    Args:
        service: whose model answers.
        count: answers.
    """

    def __init__(self, service: Service, count: int) -> None:
        self._head = {
            "id": f"chatcmpl-{secrets.token_hex(12)}",
            "created": int(time.time()),
            "model": service.name,
        }
        self.texts = [""] * count
        self.reasons: list[str | None] = [None] * count
        self._generated = 0
        self._started: Started | None = None
        self._timings: dict[str, float] = {}

    def note(self, event: Event) -> None:
        """Take in what happened."""
        if isinstance(event, Started):
            self._started = event
        elif isinstance(event, Piece):
            self.texts[event.index] += event.text
        elif isinstance(event, Ended):
            self.reasons[event.index] = event.reason
            self._generated += event.tokens
        elif isinstance(event, Finished):
            self._timings = event.timings

    def whole(self) -> dict[str, Any]:
        """All in one document."""
        choices = [
            {
                "index": index,
                "message": {"role": "assistant", "content": text, "refusal": None},
                "logprobs": None,
                "finish_reason": reason,
            }
            for index, (text, reason) in enumerate(zip(self.texts, self.reasons, strict=True))
        ]
        document = {**self._head, "object": "chat.completion", "choices": choices}
        return {**document, "usage": self.usage(), "mobile_videogpt": self._extra()}

    def chunk(self, index: int, delta: dict[str, Any], reason: str | None = None) -> dict[str, Any]:
        """A piece of one answer."""
        choice = {"index": index, "delta": delta, "logprobs": None, "finish_reason": reason}
        return {**self._head, "object": "chat.completion.chunk", "choices": [choice]}

    def last_chunk(self, include_usage: bool) -> dict[str, Any]:
        """What ends a stream: no text, all that is known."""
        document = {**self._head, "object": "chat.completion.chunk", "choices": []}
        usage = {"usage": self.usage()} if include_usage else {}
        return {**document, **usage, "mobile_videogpt": self._extra()}

    def usage(self) -> dict[str, Any]:
        """Tokens, those of videos included."""
        prompt = self._started.prompt_tokens if self._started else 0
        cached = self._started.cached_tokens if self._started else 0
        return {
            "prompt_tokens": prompt,
            "completion_tokens": self._generated,
            "total_tokens": prompt + self._generated,
            "prompt_tokens_details": {"cached_tokens": cached},
        }

    def _extra(self) -> dict[str, Any]:
        videos = list(self._started.videos) if self._started else []
        return {"videos": videos, "timings": self._timings}


async def answer_whole(
    request: Request, completion: Completion, events: AsyncIterator[Event]
) -> Response:
    """Wait for all answers; give up when the client does."""

    async def collect() -> None:
        async with aclosing(events):  # type: ignore[type-var]
            async for event in events:
                completion.note(event)

    await until_gone(request, collect())
    return JSONResponse(completion.whole())


async def answer_stream(
    request: Request, completion: Completion, events: AsyncIterator[Event], include_usage: bool
) -> Response:
    """Begin a stream once the prompt is read, so that what is wrong with it is a proper error."""
    first = await until_gone(request, anext(events))
    completion.note(first)
    return EventStream(_chunks(completion, events, include_usage))


async def _chunks(
    completion: Completion, events: AsyncIterator[Event], include_usage: bool
) -> AsyncIterator[dict[str, Any]]:
    async with aclosing(events):  # type: ignore[type-var]
        for index in range(len(completion.texts)):
            yield completion.chunk(index, {"role": "assistant", "content": ""})
        async for event in events:
            completion.note(event)
            if isinstance(event, Piece):
                yield completion.chunk(event.index, {"content": event.text})
            elif isinstance(event, Ended):
                yield completion.chunk(event.index, {}, event.reason)
        yield completion.last_chunk(include_usage)


class EventStream(Response):
    """Server-sent events; ends at once when the client goes away.

    Args:
        documents: what is sent, one event each; closed at the end, whatever happens.
    """

    media_type = "text/event-stream"

    def __init__(self, documents: AsyncIterator[dict[str, Any]]) -> None:
        super().__init__(headers={"Cache-Control": "no-store", "X-Accel-Buffering": "no"})
        del self.headers["content-length"]
        self._documents = documents

    async def __call__(self, scope: MutableMapping[str, Any], receive: Receive, send: Send) -> None:
        """Send the stream; an error in it is its last event."""
        gone = asyncio.create_task(_wait_for_disconnect(receive))
        sending = asyncio.create_task(self._send_all(send))
        try:
            await asyncio.wait({gone, sending}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for task in (gone, sending):
                task.cancel()
            await asyncio.gather(gone, sending, return_exceptions=True)

    async def _send_all(self, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        async with aclosing(self._documents) as documents:  # type: ignore[type-var]
            try:
                async for document in documents:
                    await _send_event(send, json.dumps(document, ensure_ascii=False))
            except ApiError as error:
                await _send_event(send, json.dumps(error.document(), ensure_ascii=False))
            except OSError:
                return  # the client is gone
            except Exception:
                logger.exception("a stream failed")
                await _send_event(send, json.dumps(internal_error().document()))
            await _send_event(send, "[DONE]")
            await send({"type": "http.response.body", "body": b"", "more_body": False})


async def _send_event(send: Send, data: str) -> None:
    body = f"data: {data}\n\n".encode()
    async with asyncio.timeout(_STALLED_S):
        await send({"type": "http.response.body", "body": body, "more_body": True})


async def until_gone(request: Request, work: Awaitable[T]) -> T:
    """The result of `work`, which is cancelled when the client goes away.

    Raises:
        ApiError: the client went away; nobody reads it.
    """
    gone = asyncio.create_task(_wait_for_disconnect(request.receive))
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait({gone, task}, return_when=asyncio.FIRST_COMPLETED)
        if not task.done():
            raise ApiError(499, "the client closed the request", "client_closed_request")
        return task.result()
    finally:
        for pending in (gone, task):
            pending.cancel()
        with suppress(asyncio.CancelledError):
            await asyncio.gather(gone, task, return_exceptions=True)


async def _wait_for_disconnect(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
