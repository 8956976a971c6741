"""Clients' files are checked, decoded elsewhere, and take at most their decoder along."""

import asyncio
import io
import os
import struct
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from mobile_videogpt.serving.decoding import pool as pool_module
from mobile_videogpt.serving.decoding.pool import DecodePool
from mobile_videogpt.serving.decoding.wire import Sampling, WireError, read_clip, read_header
from mobile_videogpt.serving.settings import DecodingLimits
from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.source import read_video

LIMITS = DecodingLimits(time_s=60.0)
SAMPLING = Sampling(16)


@pytest.fixture(scope="module")
def pool():
    pool = DecodePool(LIMITS, 1)
    yield pool
    pool.close()


def decode(pool, *files, kind="video", sampling=SAMPLING):
    return asyncio.run(pool.decode(kind, files, sampling))


def picture(width=8, height=8, form="PNG", **options):
    file = io.BytesIO()
    Image.new("RGB", (width, height), "red").save(file, form, **options)
    return file.getvalue()


def film(size=(64, 48), frames=8, rate=8, form="mp4", codec="mpeg4", streams=1):
    file = io.BytesIO()
    with av.open(file, "w", format=form) as container:
        made = [container.add_stream(codec, rate=rate) for _ in range(streams)]
        for stream in made:
            stream.width, stream.height = size
            stream.pix_fmt = "yuv420p"
        for number in range(frames):
            pixels = np.full((size[1], size[0], 3), number * 7 % 256, np.uint8)
            for stream in made:
                container.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        for stream in made:
            container.mux(stream.encode())
    return file.getvalue()


@pytest.mark.parametrize(
    "sampling",
    [
        SAMPLING,
        replace(SAMPLING, start=1.0, end=2.5),
        replace(SAMPLING, fps=4.0),
    ],
)
def test_a_clip_is_what_reading_it_here_gives(pool, clip_bytes, sampling):
    data = clip_bytes(1)
    clip = decode(pool, data, sampling=sampling)
    part = {"start": sampling.start, "end": sampling.end, "rate": sampling.fps or 1.0}
    expected = read_video(io.BytesIO(data), count=16, **part)
    assert clip.frame_times == expected.frame_times
    assert clip.frame_indices == expected.frame_indices
    assert clip.duration_s == expected.duration_s and clip.fps == expected.fps
    assert all(map(np.array_equal, clip.frames, expected.frames))


def test_many_files_do_not_fill_a_decoder(monkeypatch, clip_bytes):
    """Cut-off films leave decoders behind; with them, memory would soon be short."""
    pool = DecodePool(replace(LIMITS, memory_bytes=700_000_000), 1)
    try:
        films = [clip_bytes(seed) for seed in (1, 2, 3)]
        expected = [read_video(io.BytesIO(film)).frames for film in films]
        for number in range(45):
            clip = decode(pool, films[number % 3])
            assert all(map(np.array_equal, clip.frames, expected[number % 3])), number
            with pytest.raises(VideoError):
                decode(pool, films[number % 3][:3000])
        assert pool.deaths == 0
    finally:
        pool.close()


def test_fewer_frames_are_filled_up_with_the_last(pool, clip_bytes):
    clip = decode(pool, clip_bytes(1), sampling=replace(SAMPLING, num_frames=3))
    assert len(clip.frames) == 16 and len(set(clip.frame_times)) == 3
    assert all(frame is clip.frames[2] for frame in clip.frames[3:])


def test_pictures_become_a_video(pool):
    files = [picture(form=form) for form in ("PNG", "JPEG", "GIF", "BMP", "WEBP")]
    clip = decode(pool, *files, kind="pictures")
    assert clip.num_frames == 5 and len(clip.frames) == 16
    clip = decode(pool, *files, kind="pictures", sampling=replace(SAMPLING, fps=2.0, start=1.0))
    assert clip.frame_times[:3] == [1.0, 1.5, 2.0]


@pytest.mark.parametrize(
    ("form", "codec"),
    [("mp4", "mpeg4"), ("matroska", "mpeg4"), ("avi", "mpeg4"), ("mpegts", "mpeg2video"),
     ("webm", "libvpx"), ("flv", "flv"), ("gif", "gif")],
)  # fmt: skip
def test_common_containers_are_allowed(pool, form, codec):
    if form == "gif":
        frames = [Image.new("RGB", (16, 16), (n * 30, 0, 0)) for n in range(8)]
        file = io.BytesIO()
        frames[0].save(file, "GIF", save_all=True, append_images=frames[1:], duration=125)
        data = file.getvalue()
    else:
        data = film(rate=25, form=form, codec=codec)
    assert decode(pool, data).num_frames == 8


# --- what is refused, and why

LOCAL = Path(__file__).parents[2] / "examples" / "shapes-1.mp4"
PLAYLISTS = {
    "hls": f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile://{LOCAL}\n#EXT-X-ENDLIST\n",
    "concat": f"ffconcat version 1.0\nfile '{LOCAL}'\n",
    "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011" type="static" '
    'mediaPresentationDuration="PT4S" profiles="urn:mpeg:dash:profile:isoff-on-demand:2011">'
    f'<Period><AdaptationSet mimeType="video/mp4"><Representation id="1"><BaseURL>file://{LOCAL}'
    "</BaseURL></Representation></AdaptationSet></Period></MPD>",
    "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nt=0 0\nm=video 9 RTP/AVP 96\n",
    "text": "hello, this is no video " * 100,
    "numpy": "\x93NUMPY\x01\x00v\x00{'descr': '|u1', 'fortran_order': False, 'shape': (9,), }",
}


@pytest.mark.parametrize("kind", PLAYLISTS)
def test_files_that_name_other_files_are_not_followed(pool, kind):
    with pytest.raises(VideoError, match="cannot be read as a video"):
        decode(pool, PLAYLISTS[kind].encode("latin-1"))


def giant_png():
    """A head that promises 30000 x 30000 pixels, and nothing else."""
    data = bytearray(picture())
    struct.pack_into(">II", data, 16, 30_000, 30_000)
    import zlib

    struct.pack_into(">I", data, 29, zlib.crc32(bytes(data[12:29])))
    return bytes(data)


def giant_gif():
    data = bytearray(picture(form="GIF"))
    struct.pack_into("<HH", data, 6, 65_535, 65_535)
    return bytes(data)


def test_giant_frames_are_refused_before_they_are_decoded(pool):
    for data, kind in ((giant_png(), "video"), (giant_png(), "pictures"), (giant_gif(), "video")):
        with pytest.raises(VideoError, match=r"pixels|memory|cannot be read|can be decoded"):
            decode(pool, data, kind=kind)
    with pytest.raises(VideoError, match="more than the 1000 pixels"):
        small = DecodePool(replace(LIMITS, pixels=1000), 1)
        try:
            decode(small, film())
        finally:
            small.close()


@pytest.mark.parametrize(
    ("limits", "data", "reason"),
    [
        ({"duration_s": 0.5}, {}, "lasts 1 s, and 0 s are allowed"),
        ({"frames": 5}, {}, "8 frames, and 5 are allowed"),
        ({"frames": 5}, {"form": "matroska"}, "8 frames, and 5 are allowed"),
        ({"streams": 2}, {"streams": 3}, "3 streams, and 2 are allowed"),
    ],
)
def test_what_is_beyond_a_limit_is_refused(limits, data, reason):
    pool = DecodePool(replace(LIMITS, **limits), 1)
    try:
        with pytest.raises(VideoError, match=reason):
            decode(pool, film(**data))
        assert pool.deaths == 0
    finally:
        pool.close()


# --- what a decoder may cost


def worker_that(monkeypatch, body):
    """Decoding processes that run other code; the pipe's first two messages as usual."""
    code = (
        "import sys, os, time, json\n"
        "from mobile_videogpt.serving.decoding import worker\n"
        f"def decode(kind, files, sampling, limits):\n    {body}\n"
        "worker.decode = decode\n"
        "sys.exit(worker.main())\n"
    )
    real = pool_module.subprocess.Popen

    def start(command, **options):
        return real([command[0], "-c", code], **options)

    monkeypatch.setattr(pool_module.subprocess, "Popen", start)


@pytest.mark.parametrize(
    ("body", "reason"),
    [
        ("time.sleep(60)", "more than 1 s to decode"),
        ("os.kill(os.getpid(), 11)", "its decoder crashed"),
        ("os._exit(0)", "its decoder crashed"),
        ("bytearray(3_000_000_000)", "more memory"),
        ("raise RuntimeError('/secret/path')", "^the video cannot be read"),
        ("open('/tmp/serving-test', 'wb').write(b'x' * 100000)", "cannot be read|crashed"),
    ],
)
def test_a_decoder_that_misbehaves_fails_alone(monkeypatch, body, reason, clip_bytes):
    pool = DecodePool(replace(LIMITS, time_s=1.0), 1)
    try:
        with monkeypatch.context() as patch:
            worker_that(patch, body)
            start = time.monotonic()
            with pytest.raises(VideoError, match=reason) as caught:
                decode(pool, b"anything")
            assert "/secret" not in str(caught.value)
            assert time.monotonic() - start < 15
            for process in list(pool._all):
                pool._drop(process)
        pool.limits = LIMITS
        assert decode(pool, clip_bytes(1)).num_frames == 32
    finally:
        pool.close()


def test_a_decoder_sees_no_keys(monkeypatch):
    monkeypatch.setenv("MOBILE_VIDEOGPT_API_KEYS", "secret")
    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    assert "secret" not in pool_module.bare_environment().values()
    assert pool_module.bare_environment()["PATH"] == os.environ["PATH"]


@pytest.mark.parametrize(
    "clip",
    [
        {},
        {"clip": {"sizes": [], "order": []}},
        {"clip": {"sizes": [[4, 4]], "order": [0] * 15 + [1]}},
        {"clip": {"sizes": [[10**6, 10**6]], "order": [0] * 16}},
        {"clip": {"sizes": [[-4, -4]], "order": [0] * 16}},
    ],
)
def test_a_reply_that_is_no_clip_is_not_believed(clip):
    fields = {"frame_times": [0.0] * 16, "frame_indices": [0] * 16}
    fields |= {"fps": 1.0, "duration_s": 1.0, "num_frames": 1}
    if "clip" in clip:
        clip = {"clip": {**fields, **clip["clip"]}}
    with pytest.raises(WireError):
        read_clip(io.BytesIO(bytes(100)), clip, 16, 1_000_000)


@pytest.mark.parametrize("data", [b"", b"\0", b"\xff\xff\xff\xff", b"\0\0\0\2[]", b"\0\0\0\1x"])
def test_a_header_that_is_none_is_not_believed(data):
    with pytest.raises(WireError):
        read_header(io.BytesIO(data))


def test_a_decoder_starts_small():
    code = (
        "import sys, mobile_videogpt.serving.decoding.worker\n"
        "heavy = {'torch', 'fastapi', 'mobile_videogpt.chat'} & sys.modules.keys()\n"
        "assert not heavy, heavy\n"
    )
    environment = pool_module.bare_environment()
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
