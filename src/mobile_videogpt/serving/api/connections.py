"""Connections may wait a few seconds for a request, not for ever.

uvicorn waits for the head of a first request as long as it takes, and reads on what comes of a
request that was answered already: connections that cost a client nothing would use the server's up.
"""

from __future__ import annotations

import asyncio
from typing import Any

from uvicorn.protocols.http.h11_impl import H11Protocol

# From a connection's beginning, or from its last response, to the end of the next request's head.
HEAD_S = 15.0


class ImpatientProtocol(H11Protocol):
    """Closes connections on which no request comes, also those that send a byte now and then."""

    _patience: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """A client is here."""
        super().connection_made(transport)
        self._wait_for_request()

    def connection_lost(self, exc: Exception | None) -> None:
        """It is gone."""
        if self._patience is not None:
            self._patience.cancel()
        super().connection_lost(exc)

    def on_response_complete(self) -> None:
        """It may ask again."""
        super().on_response_complete()
        self._wait_for_request()

    def _wait_for_request(self) -> None:
        if self._patience is not None:
            self._patience.cancel()
        self._patience = self.loop.call_later(HEAD_S, self._end_if_idle, self.cycle)

    def _end_if_idle(self, last: Any) -> None:
        """Close the connection unless there was a request after `last`."""
        if self.cycle is last and (last is None or last.response_complete):
            self.transport.abort()
