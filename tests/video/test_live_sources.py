"""Live sources over real sockets and files: streams that break off, files that grow, films."""

from __future__ import annotations

import functools
import http.server
import itertools
import socket
import threading
import time
from contextlib import closing, contextmanager

import av
import numpy as np
import pytest
from live_camera import number_of, numbered_frames, rtsp_camera, wait_until

from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.live import address, growing_file
from mobile_videogpt.video.live.address import SourceKind, camera_source, find_source
from mobile_videogpt.video.live.patience import Patience
from mobile_videogpt.video.live.reader import LiveReader


def reading(source, rate=8.0, keep=16, **options):
    """A reader at work, closed when the block ends."""
    reader = LiveReader(source, rate, keep, patience=Patience(0.1, 0.5), **options)
    reader.start()
    return closing(reader)


def taken(reader):
    frames = reader.latest(1000)
    return frames[-1].number if frames else 0


@pytest.fixture
def camera():
    with rtsp_camera.RtspCamera(rtsp_camera.encode(numbered_frames(40))) as running:
        yield running


def test_frames_of_a_stream_come_in_order_and_the_oldest_go(camera):
    with reading(find_source(camera.url), keep=4) as reader:
        wait_until(lambda: taken(reader) >= 8)
        frames = reader.latest(1000)
        assert len(frames) == 4
        assert [f.number for f in frames] == list(range(frames[0].number, frames[-1].number + 1))
        numbers = [number_of(f.pixels) for f in frames]
        steps = [(b - a) % 40 for a, b in itertools.pairwise(numbers)]
        assert all(step >= 1 for step in steps) and sum(steps) < 40
        assert [f.time for f in frames] == sorted({f.time for f in frames})
        assert reader.notices[0].kind == "connected"


def test_a_window_is_the_last_seconds(camera):
    with reading(find_source(camera.url), rate=4.0, keep=40) as reader:
        wait_until(lambda: taken(reader) >= 10)
        frames = reader.latest(1.0)
        assert 1 <= len(frames) <= 5
        assert frames[-1].time - frames[0].time <= 1.0


def test_nobody_looking_does_not_hold_up_the_stream(camera):
    with reading(find_source(camera.url), keep=4) as reader:
        wait_until(lambda: taken(reader) >= 4)
        first = reader.latest(1000)[-1].number
        wait_until(lambda: reader.frames_decoded > 4 + first + 8)
        assert reader.latest(1000)[0].number > first


def test_a_stream_that_is_cut_comes_back(camera):
    with reading(find_source(camera.url)) as reader:
        wait_until(lambda: taken(reader) >= 2)
        before = taken(reader)
        camera.cut()
        wait_until(lambda: [n.kind for n in reader.notices].count("lost") >= 2)
        camera.restore()
        wait_until(lambda: taken(reader) > before + 2)
        kinds = [notice.kind for notice in reader.notices]
        assert kinds[0] == kinds[-1] == "connected" and kinds.count("connected") == 2
        assert all(notice.retry_s > 0 for notice in reader.notices if notice.kind == "lost")
        assert camera.connections == 2


def test_a_stream_that_stays_away_is_given_up(camera):
    with reading(find_source(camera.url), give_up_s=1.0) as reader:
        wait_until(lambda: taken(reader) >= 1)
        camera.close()
        wait_until(lambda: reader.is_over)
        assert isinstance(reader.failure, VideoError)
        assert "was not there for 1 s" in str(reader.failure)


def test_a_source_that_is_not_there_yet_can_be_waited_for(tmp_path):
    with socket.create_server(("127.0.0.1", 0)) as taken_port:
        port = taken_port.getsockname()[1]
    with reading(find_source(f"rtsp://127.0.0.1:{port}/x"), is_awaited=True) as reader:
        wait_until(lambda: bool(reader.notices))
        assert reader.notices[0].kind == "lost"
        film = rtsp_camera.encode(numbered_frames(8))
        with rtsp_camera.RtspCamera(film, port=port):
            wait_until(lambda: taken(reader) >= 1)


def failure_of(source):
    with reading(source) as reader:
        wait_until(lambda: reader.is_over)
        return reader.failure


def test_nobody_at_the_address_is_an_error_that_keeps_the_password_to_itself():
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
    failure = failure_of(find_source(f"rtsp://me:secret@127.0.0.1:{port}/door"))
    assert isinstance(failure, VideoError)
    assert "rtsp://me:***@127.0.0.1" in str(failure) and "secret" not in str(failure)


@pytest.mark.parametrize("reply", [b"", b"HTTP/1.1 200 OK\r\n\r\n<html>", bytes(range(256)) * 64])
def test_a_server_that_talks_nonsense_is_an_error(reply, monkeypatch):
    monkeypatch.setattr(address, "OPEN_TIMEOUT_S", 2.0)
    with talking(reply) as port:
        for scheme in ("rtsp", "http"):
            assert isinstance(failure_of(find_source(f"{scheme}://127.0.0.1:{port}/x")), VideoError)


def test_a_server_that_says_nothing_is_an_error_after_a_while(monkeypatch):
    monkeypatch.setattr(address, "OPEN_TIMEOUT_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as server:
        source = find_source(f"rtsp://127.0.0.1:{server.getsockname()[1]}/x")
        assert isinstance(failure_of(source), VideoError)


@contextmanager
def talking(reply):
    """A server that sends the same bytes to everyone; its port."""
    server = socket.create_server(("127.0.0.1", 0))

    def talk():
        while True:
            try:
                client, _ = server.accept()
            except OSError:
                return
            with client:
                client.settimeout(1.0)
                try:
                    client.recv(4096)
                    client.sendall(reply)
                except OSError:
                    pass

    threading.Thread(target=talk, daemon=True).start()
    with server:
        yield server.getsockname()[1]


def write_film(path, frames, fps=8, **options):
    with av.open(str(path), "w", **options) as container:
        stream = container.add_stream("libx264", rate=fps, options={"g": "8"})
        stream.height, stream.width, stream.pix_fmt = 64, 64, "yuv420p"
        for frame in frames:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        container.mux(stream.encode())
    return path


@pytest.fixture(scope="module")
def film(tmp_path_factory):
    return write_film(tmp_path_factory.mktemp("films") / "film.mp4", numbered_frames(16))


def test_a_film_is_played_at_its_own_speed_once(film):
    began = time.monotonic()
    with reading(find_source(str(film)), keep=100) as reader:
        wait_until(lambda: reader.is_over)
        assert time.monotonic() - began > 1.6  # its last frame is at 1.875 s
        frames = reader.latest(1000)
    assert reader.failure is None
    for frame in frames:
        assert frame.time == pytest.approx(number_of(frame.pixels) / 8)


def test_a_film_on_a_web_server_is_a_film(film):
    handler = functools.partial(QuietHandler, directory=str(film.parent))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        source = find_source(f"http://127.0.0.1:{server.server_address[1]}/film.mp4")
        with reading(source, keep=100) as reader:
            wait_until(lambda: reader.is_over)
            times = [frame.time for frame in reader.latest(1000)]
        server.shutdown()
    assert reader.failure is None
    assert times[0] == 0 and times[-1] <= 1.875


class QuietHandler(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *args):
        pass


def restless_frames(count):
    """Numbered frames that take as many bytes each as a real film's."""
    noise = np.random.default_rng(0).integers(-8, 9, (count, 64, 64, 1))
    return [
        (frame + sand).clip(0, 255).astype(np.uint8)
        for frame, sand in zip(numbered_frames(count), noise, strict=True)
    ]


@pytest.mark.parametrize("suffix", ["ts", "mkv"])
def test_a_growing_file_is_watched_from_its_end(suffix, tmp_path, monkeypatch):
    monkeypatch.setattr(growing_file.GrowingFile.__init__, "__defaults__", (bool, 1.0))
    whole = write_film(tmp_path / f"whole.{suffix}", restless_frames(40)).read_bytes()
    path = tmp_path / f"growing.{suffix}"
    half, piece = len(whole) // 2, len(whole) // 16
    path.write_bytes(whole[:half])

    def write_the_rest():
        with path.open("ab", buffering=0) as file:
            for start in range(half, len(whole), piece):
                file.write(whole[start : start + piece])
                time.sleep(0.1)

    with reading(find_source(str(path), is_growing=True), keep=100) as reader:
        threading.Thread(target=write_the_rest).start()
        wait_until(lambda: reader.is_over)
        numbers = [number_of(frame.pixels) for frame in reader.latest(1000)]
    assert reader.failure is None
    assert numbers == sorted(numbers)
    assert numbers[0] >= 12, "what was there before is not shown again"
    assert numbers[-1] >= 38


def test_a_growing_file_that_cannot_be_read_yet_says_which_could(tmp_path, film, monkeypatch):
    monkeypatch.setattr(growing_file.GrowingFile.__init__, "__defaults__", (bool, 0.2))
    path = tmp_path / "unfinished.mp4"
    path.write_bytes(film.read_bytes()[:600])
    assert "MPEG-TS" in str(failure_of(find_source(str(path), is_growing=True)))


@pytest.mark.parametrize("content", [b"\0" * 5000, b"just words\n" * 50, b"\xff\xd8\xff garbage"])
def test_a_file_that_is_no_video_is_an_error(content, tmp_path):
    path = tmp_path / "thing.mp4"
    path.write_bytes(content)
    assert isinstance(failure_of(find_source(str(path))), VideoError)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("nowhere.mp4", "no such source: 'nowhere.mp4'"),
        ("", "no such source"),
        ("gopher://host/x", "gopher://host/x cannot be watched: give one of rtsp"),
        ("file:///etc/passwd", "cannot be watched"),
        ("rtsp://", "names no host"),
        (".", "is a folder"),
    ],
)
def test_what_is_no_source_is_named(text, message):
    with pytest.raises(VideoError, match=message):
        find_source(text)


def test_an_address_does_not_grow():
    with pytest.raises(VideoError, match="only a file can be followed"):
        find_source("rtsp://host/x", is_growing=True)


@pytest.mark.parametrize(
    ("platform", "which", "device"),
    [
        ("linux", None, ("v4l2", "/dev/video0")),
        ("linux", "2", ("v4l2", "/dev/video2")),
        ("darwin", "1", ("avfoundation", "1:none")),
        ("win32", "HD Webcam", ("dshow", "video=HD Webcam")),
    ],
)
def test_cameras_have_the_names_of_their_platform(platform, which, device):
    source = camera_source(which, platform)
    assert source.kind is SourceKind.CAMERA
    assert (source.format, source.address) == device


@pytest.mark.parametrize(("platform", "which"), [("win32", None), ("sunos", "0")])
def test_cameras_that_cannot_be_named_are_an_error(platform, which):
    with pytest.raises(VideoError):
        camera_source(which, platform)


def test_a_camera_that_is_not_there_is_an_error():
    source = camera_source("77", "linux")
    assert "no other program uses it" in str(failure_of(source))
