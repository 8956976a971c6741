"""Real headless Chromium in front of a server; skipped where there is none."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright")

from playwright.sync_api import Browser, Page, sync_playwright
from running_server import RunningServer, running, twin

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.synthetic import make_clip

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
# Nothing of the browser's own reaches for the network, or needs a sandbox or a screen.
SWITCHES = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--use-fake-ui-for-media-stream",
    "--use-fake-device-for-media-stream",
]
# Generous: the machine may be busy with other tests.
PATIENCE_MS = 30_000


@pytest.fixture(scope="session")
def camera_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake camera sees, again and again: a MovingShapes clip."""
    import av

    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=30)
        stream.width, stream.height, stream.pix_fmt = 320, 320, "yuvj420p"
        for frame in make_clip(3).frames(32, 320):
            for _ in range(4):  # Chromium plays 30 a second, a clip has 8
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="session")
def browser(camera_film: Path) -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("Chromium is not installed")
    switches = [*SWITCHES, f"--use-file-for-fake-video-capture={camera_film}"]
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=CHROMIUM, args=switches)
        yield started
        started.close()


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Browser) -> Iterator[OpenPage]:
    """Opens pages of a server; at the end of the test none may have failed or asked elsewhere."""
    contexts: list[Any] = []
    problems: list[str] = []
    addresses: set[str] = set()
    own: set[str] = set()

    def note(message: Any) -> None:
        # A refused request is said here as well; the page says it in words.
        if message.type == "error" and "Failed to load resource" not in message.text:
            problems.append(message.text)

    def open_it(server: RunningServer, path: str = "/", **options: Any) -> Page:
        context = browser.new_context(**options)
        contexts.append(context)
        page = context.new_page()
        page.set_default_timeout(PATIENCE_MS)
        page.on("console", note)
        page.on("pageerror", lambda error: problems.append(str(error)))
        page.on("request", lambda request: addresses.add(request.url))
        own.add(urlsplit(server.url).netloc)
        page.goto(f"{server.url}{path}")
        return page

    yield open_it
    for context in contexts:
        context.close()
    assert not problems
    asked = {urlsplit(url).netloc for url in addresses if url.startswith(("http", "ws"))}
    assert asked <= own


@contextmanager
def slowly(chat: VideoChat, pause_s: float = 0.03, **settings: Any) -> Iterator[RunningServer]:
    """A server whose model takes its time for every token."""
    with running(twin(chat), **settings) as server:
        batch = server.service.scheduler._answers.batch
        step = batch.step

        def slow_step() -> Any:
            time.sleep(pause_s)
            return step()

        batch.step = slow_step
        yield server


@pytest.fixture(scope="session")
def lively_server(lively_chat: VideoChat) -> Iterator[RunningServer]:
    """Answers as long as they may be, slowly."""
    with slowly(lively_chat) as server:
        yield server
