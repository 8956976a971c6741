"""A server with the built-in model for all tests that leave it as it was."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

pytest.importorskip("fastapi")
pytest.importorskip("uvicorn")

from running_server import RunningServer, running, twin

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.synthetic import make_clip
from mobile_videogpt.synthetic.dataset import write_clip


@pytest.fixture(scope="session")
def miniature() -> VideoChat:
    """The built-in model; what a server should answer."""
    return VideoChat("moving-shapes", device="cpu", engine="torch")


@pytest.fixture(scope="session")
def shared_server(miniature: VideoChat) -> Iterator[RunningServer]:
    """A server for tests that leave it as it was."""
    with running(twin(miniature)) as server:
        yield server


@pytest.fixture(scope="session")
def clip_bytes(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], bytes]:
    """MovingShapes clips as mp4 files, by seed."""
    folder = tmp_path_factory.mktemp("films")

    def film(seed: int) -> bytes:
        path = folder / f"{seed}.mp4"
        if not path.exists():
            write_clip(make_clip(seed), path)
        return path.read_bytes()

    return film
