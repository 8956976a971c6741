"""Real headless Chromium in front of a server; skipped where there is none."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest

pytest.importorskip("playwright")

sys.path.append(str(Path(__file__).parents[3] / "benchmarks"))

from chromium import find_chromium, launch_options, write_camera_film
from playwright.sync_api import Browser, Page, expect, sync_playwright
from running_server import RunningServer, slowly

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.synthetic import make_clip

# Generous: the machine may be busy with other tests.
PATIENCE_MS = 30_000
expect.set_options(timeout=PATIENCE_MS)


@pytest.fixture(scope="session")
def camera_film(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the fake camera sees, again and again: a MovingShapes clip."""
    path = tmp_path_factory.mktemp("camera") / "camera.mjpeg"
    return write_camera_film(make_clip(3), path)


@pytest.fixture(scope="module")
def browser(camera_film: Path) -> Iterator[Browser]:
    """For one file of tests: while Playwright runs, nothing else here can use asyncio."""
    if find_chromium() is None:
        pytest.skip("Chromium is not installed")
    with sync_playwright() as playwright:
        started = playwright.chromium.launch(**launch_options(camera_film))
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


@pytest.fixture(scope="session")
def lively_server(lively_chat: VideoChat) -> Iterator[RunningServer]:
    """Answers as long as they may be, slowly."""
    with slowly(lively_chat) as server:
        server.chat.engine.end_token_ids = frozenset()  # type: ignore[attr-defined]
        yield server


@pytest.fixture
def clip(tmp_path: Path, clip_bytes: Callable[[int], bytes]) -> Path:
    """A video that a user has."""
    path = tmp_path / "my clip.mp4"
    path.write_bytes(clip_bytes(3))
    return path
