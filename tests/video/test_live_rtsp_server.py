"""Reading from an RTSP server that others wrote (aio-rtsp-toolkit), over its own connections."""

from __future__ import annotations

import socket
import subprocess
import sys

import pytest
from live_camera import number_of, numbered_frames, wait_until

pytest.importorskip("aio_rtsp_toolkit", reason="no RTSP server: the extra dev brings one")

import av

from mobile_videogpt.video.live.address import find_source
from mobile_videogpt.video.live.patience import Patience
from mobile_videogpt.video.live.reader import LiveReader

SERVER = """
import asyncio, sys
from aio_rtsp_toolkit.server import RtspServer
asyncio.run(RtspServer(sys.argv[1], "127.0.0.1", int(sys.argv[2])).serve_forever())
"""


def is_open(port):
    try:
        with socket.create_connection(("127.0.0.1", port), timeout=1):
            return True
    except OSError:
        return False


@pytest.fixture
def address(tmp_path):
    """Of a film of three seconds, which ends and may be asked for again."""
    with av.open(str(tmp_path / "film.mp4"), "w") as container:
        stream = container.add_stream("libx264", rate=8, options={"g": "8", "bf": "0"})
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        for frame in numbered_frames(24):
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    server = subprocess.Popen(
        [sys.executable, "-c", SERVER, tmp_path, str(port)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: is_open(port))
        yield f"rtsp://127.0.0.1:{port}/film.mp4"
    finally:
        server.kill()
        server.wait()


def test_a_film_is_read_and_asked_for_again_when_it_ends(address):
    reader = LiveReader(find_source(address), 8.0, 100, patience=Patience(0.1, 0.5))
    reader.start()
    try:
        wait_until(lambda: [n.kind for n in reader.notices].count("connected") == 2)
        kinds = [notice.kind for notice in reader.notices]
        numbers = [number_of(frame.pixels) for frame in reader.latest(1000)]
    finally:
        reader.close()
    assert kinds[:2] == ["connected", "lost"]
    again = next(n for n in range(1, len(numbers)) if numbers[n] < numbers[n - 1])
    assert numbers[:again] == sorted(set(numbers[:again])) and numbers[again - 1] >= 21
