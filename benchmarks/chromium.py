"""Headless Chromium, and a film for its fake camera: for pictures of the page and for its tests."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import av

from mobile_videogpt.synthetic import Clip

# Debian's package; nothing of the browser's own reaches for the network, or needs a sandbox.
SWITCHES = (
    *("--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync"),
    "--disable-dev-shm-usage",  # small in containers
    *("--use-fake-ui-for-media-stream", "--use-fake-device-for-media-stream"),
)
_PER_SECOND = 30  # what Chromium plays; a clip has 8
_REPEATS = 4


def find_chromium() -> str | None:
    """The browser's path, None where there is none."""
    return shutil.which("chromium") or shutil.which("chromium-browser")


def launch_options(camera_film: Path) -> dict[str, Any]:
    """For playwright's `chromium.launch`: a browser whose camera sees a film, again and again."""
    switches = [*SWITCHES, f"--use-file-for-fake-video-capture={camera_film}"]
    return {"executable_path": find_chromium(), "args": switches}


def write_camera_film(clip: Clip, path: Path, side: int = 320) -> Path:
    """A MovingShapes clip as the fake camera reads it: JPEG pictures in a row."""
    with av.open(str(path), "w", format="mjpeg") as container:
        stream = container.add_stream("mjpeg", rate=_PER_SECOND)
        stream.width, stream.height, stream.pix_fmt = side, side, "yuvj420p"
        for frame in clip.frames(32, side):
            for _ in range(_REPEATS):
                container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path
