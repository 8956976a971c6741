"""A server in a thread of the test's process, and requests to it."""

from __future__ import annotations

import base64
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.serving.run import build_server, listen
from mobile_videogpt.serving.settings import ServerSettings

NAME = "moving-shapes"


@dataclass
class RunningServer:
    """A server under test."""

    url: str
    server: Any
    chat: VideoChat

    @property
    def service(self) -> Any:
        return self.server.service


@contextmanager
def running(chat: VideoChat, **settings: Any) -> Iterator[RunningServer]:
    """A server on a free port, until the block ends."""
    options = ServerSettings(**{"port": 0, "decoders": 1, "requests_per_minute": 0, **settings})
    ready = threading.Event()
    server = build_server(chat, options, NAME, lambda url: ready.set())
    listener = listen(options)
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
    port = listener.getsockname()[1]
    thread.start()
    try:
        assert ready.wait(60), "the server does not start"
        yield RunningServer(f"http://127.0.0.1:{port}", server, chat)
    finally:
        server.should_exit = True
        thread.join(30)
        assert not thread.is_alive(), "the server does not stop"


@contextmanager
def slowly(chat: VideoChat, pause_s: float = 0.02, **settings: Any) -> Iterator[RunningServer]:
    """A server whose model rests before every step."""
    with running(twin(chat), **settings) as server:
        batch = server.service.scheduler._answers.batch
        step = batch.step

        def slow_step() -> Any:
            time.sleep(pause_s)
            return step()

        batch.step = slow_step
        yield server


def twin(chat: VideoChat) -> VideoChat:
    """The same model in a chat of its own, for a server."""
    return VideoChat.from_model(chat.model, chat.processor, chat.name)


def data_url(data: bytes, kind: str = "video/mp4") -> str:
    return f"data:{kind};base64,{base64.b64encode(data).decode()}"


def ask_about(data: bytes, question: str, **video: Any) -> list[dict[str, Any]]:
    """Messages with a video and a question."""
    url = {"url": data_url(data), **video}
    content = [{"type": "video_url", "video_url": url}, {"type": "text", "text": question}]
    return [{"role": "user", "content": content}]


def wait_until(condition: Callable[[], object], seconds: float = 20.0) -> None:
    """Wait for what happens in another thread."""
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it does not happen"
        time.sleep(0.01)
