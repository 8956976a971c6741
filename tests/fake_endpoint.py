"""A chat-completions server on this machine that answers as a test tells it to."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

Reply = tuple[int, Any] | str


def completion(text: Any) -> dict[str, Any]:
    """The body of a successful reply."""
    return {"choices": [{"message": {"role": "assistant", "content": text}}]}


class FakeServer(ThreadingHTTPServer):
    """Keeps what it was asked; `most_at_once` is how many requests it held at a time."""

    daemon_threads = True

    def __init__(self, answer: Callable[[dict[str, Any]], Any]) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.answer = answer
        self.requests: list[dict[str, Any]] = []
        self.headers: list[dict[str, str]] = []
        self.paths: list[str] = []
        self.lock = threading.Lock()
        self.at_once = self.most_at_once = 0

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/v1"


class _Handler(BaseHTTPRequestHandler):
    server: FakeServer

    def do_POST(self) -> None:
        server = self.server
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        with server.lock:
            server.requests.append(body)
            server.headers.append(dict(self.headers))
            server.paths.append(self.path)
            server.at_once += 1
            server.most_at_once = max(server.most_at_once, server.at_once)
        try:
            reply = server.answer(body)
        finally:
            # Before the reply leaves: whoever has it may ask again at once.
            with server.lock:
                server.at_once -= 1
        self._answer(reply)

    def _answer(self, reply: Any) -> None:
        status, content, headers = 200, reply, {}
        if isinstance(reply, tuple):
            status, content, *rest = reply
            headers = rest[0] if rest else {}
        elif isinstance(reply, str):
            content = completion(reply)
        data = content if isinstance(content, bytes) else json.dumps(content).encode()
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, *args: Any) -> None:
        pass


@contextmanager
def serve(answer: Callable[[dict[str, Any]], Any]) -> Iterator[FakeServer]:
    """A server while the block runs; `answer(body)` gives text, or (status, content[, headers])."""
    server = FakeServer(answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,), daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()


def in_turn(*replies: Any) -> Callable[[dict[str, Any]], Any]:
    """Gives the replies one after another, the last one for ever."""
    left = list(replies)
    return lambda body: left.pop(0) if len(left) > 1 else left[0]
