"""Broken and hostile inputs for the server, the same ones every time.

Requests of every kind that a server meets: files cut off, with flipped bits, with heads that lie;
animations that grow when they are opened; files that name other files; JSON that is none, huge,
deep or of the wrong types.
"""

from __future__ import annotations

import base64
import copy
import io
import json
import random
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import av
import numpy as np
from PIL import Image

from mobile_videogpt.synthetic import make_clip

PATH = "/v1/chat/completions"
JSON_HEADERS = {"Content-Type": "application/json"}


@dataclass(frozen=True)
class Hostile:
    """One request."""

    kind: str
    body: bytes
    headers: dict[str, str]
    path: str = PATH


def hostile_inputs(seed: int = 0) -> Iterator[Hostile]:
    """All of them, in an order that mixes the kinds."""
    rng = random.Random(seed)
    made = [*_files(rng), *_documents(rng)]
    rng.shuffle(made)
    yield from made


def good_request() -> Hostile:
    """What the server answers rightly, before and after."""
    return _about("good", film())


# --- files


def film(form: str = "mp4", codec: str = "mpeg4", frames: int = 16, streams: int = 1) -> bytes:
    """A MovingShapes clip in a container."""
    file = io.BytesIO()
    # Exact to the bit: Matroska would draw identifiers at random.
    with av.open(file, "w", format=form, options={"fflags": "+bitexact"}) as container:
        made = [container.add_stream(codec, rate=25) for _ in range(streams)]
        for stream in made:
            stream.width = stream.height = 128
            stream.pix_fmt = "yuv420p"
        for pixels in make_clip(1).frames()[:frames]:
            for stream in made:
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                container.mux(stream.encode(frame))
        for stream in made:
            container.mux(stream.encode())
    return file.getvalue()


def animation(form: str, size: tuple[int, int] = (32, 32), frames: int = 8) -> bytes:
    """An animated picture."""
    file = io.BytesIO()
    images = [Image.new("RGB", size, (n * 29 % 256, n * 53 % 256, 0)) for n in range(frames)]
    images[0].save(file, form, save_all=True, append_images=images[1:], duration=100)
    return file.getvalue()


def _files(rng: random.Random) -> Iterator[Hostile]:
    originals = {
        "mp4": film(),
        "mkv": film("matroska"),
        "webm": film("webm", "libvpx"),
        "avi": film("avi"),
        "ts": film("mpegts", "mpeg2video"),
        "gif": animation("GIF"),
        "webp": animation("WEBP"),
        "apng": animation("PNG"),
        "jpeg": animation_still("JPEG"),
    }
    for name, data in originals.items():
        for _ in range(14):
            yield _about(f"cut off: {name}", data[: rng.randrange(len(data))])
        for _ in range(16):
            yield _about(f"flipped bits: {name}", _flipped(data, rng, rng.choice([1, 8, 64, 512])))
        for _ in range(5):
            yield _about(f"head and noise: {name}", data[:64] + rng.randbytes(4000))
        for _ in range(4):
            yield _about(f"head lies: {name}", _lying(data, rng))
    for _ in range(20):
        yield _about("noise", rng.randbytes(rng.choice([1, 10, 1000, 50_000])))
    for name, data in _bombs():
        yield _about(f"bomb: {name}", data)
        yield _about(f"bomb as picture: {name}", data, "image_url")
    for name, text in _references().items():
        yield _about(f"names other files: {name}", text.encode("latin-1"))
        yield _about(f"names other files, as picture: {name}", text.encode("latin-1"), "image_url")


def animation_still(form: str) -> bytes:
    """One picture."""
    file = io.BytesIO()
    Image.new("RGB", (64, 64), "red").save(file, form)
    return file.getvalue()


def _flipped(data: bytes, rng: random.Random, count: int) -> bytes:
    changed = bytearray(data)
    for _ in range(count):
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    return bytes(changed)


def _lying(data: bytes, rng: random.Random) -> bytes:
    """Some of the numbers in the first kilobyte are as large or odd as can be."""
    changed = bytearray(data)
    for _ in range(6):
        place = rng.randrange(4, max(5, min(len(changed), 1024) - 4))
        value = rng.choice([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0x80000000, 0x00FFFFFF])
        struct.pack_into(rng.choice(["<I", ">I"]), changed, place, value)
    return bytes(changed)


def _bombs() -> Iterator[tuple[str, bytes]]:
    """Small files that are large inside."""
    for width, height in ((60_000, 60_000), (2**31 - 1, 1), (1, 2**31 - 1), (0, 0)):
        yield f"png {width} x {height}", _png(width, height, b"\0" * 1000)
    yield "png of solid 2800 x 2800", _solid_png(2800, 2800)
    yield "png of solid 12000 x 12000", _solid_png(12_000, 12_000)
    for width, height in ((8_000_000, 1), (1, 60_000), (4_000_000, 2)):
        yield f"strip of {width} x {height}", _solid_png(width, height)
    yield "gif of 60000 x 60000", _gif(60_000, 60_000, 1)
    yield "gif of 3800 x 2100, 3000 frames", _gif(3800, 2100, 3000)
    yield "gif of 1 x 1, 300000 frames", _gif(1, 1, 300_000)
    yield "webp of 16000 x 16000", _webp(16_000)
    yield "bmp of 30000 x 30000", _bmp(30_000)
    yield "mkv of 400 streams", film("matroska", frames=1, streams=400)
    yield "ts of 150 streams", film("mpegts", "mpeg2video", frames=1, streams=150)
    yield "mp4 of one frame for a century", _stretched(film())
    yield "zip", b"PK\x03\x04" + bytes(5000)
    yield "gzip", zlib.compress(bytes(10_000_000))


def _png(width: int, height: int, pixels: bytes) -> bytes:
    def chunk(name: bytes, body: bytes) -> bytes:
        crc = struct.pack(">I", zlib.crc32(name + body))
        return struct.pack(">I", len(body)) + name + body + crc

    head = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    data = chunk(b"IHDR", head) + chunk(b"IDAT", zlib.compress(pixels)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + data


def _solid_png(width: int, height: int) -> bytes:
    file = io.BytesIO()
    Image.fromarray(np.zeros((height, width), np.uint8)).save(file, "PNG")
    return file.getvalue()


def _gif(width: int, height: int, frames: int) -> bytes:
    """A large canvas on which every frame paints one pixel."""
    head = b"GIF89a" + struct.pack("<HHBBB", width, height, 0x80, 0, 0) + b"\0\0\0\xff\xff\xff"
    control = b"\x21\xf9\x04\x00\x01\x00\x00\x00"
    frame = control + b"\x2c" + struct.pack("<HHHHB", 0, 0, 1, 1, 0) + b"\x02\x02\x44\x01\x00"
    return head + frame * frames + b"\x3b"


def _webp(side: int) -> bytes:
    size = (side - 1) | (side - 1) << 14
    body = b"VP8L" + struct.pack("<I", 100) + b"\x2f" + struct.pack("<I", size) + bytes(95)
    return b"RIFF" + struct.pack("<I", len(body) + 4) + b"WEBP" + body


def _bmp(side: int) -> bytes:
    head = struct.pack("<IHHIIIIHHIIIIII", 0, 0, 0, 54, 40, side, side, 1, 24, 0, 0, 0, 0, 0, 0)
    return b"BM" + head[: 52 + 4]


def _stretched(data: bytes) -> bytes:
    """An mp4 whose clock runs so slowly that its frames last for years."""
    changed = bytearray(data)
    place = changed.find(b"mdhd")
    struct.pack_into(">I", changed, place + 16, 1)  # the time scale
    struct.pack_into(">I", changed, place + 20, 0x7FFFFFFF)  # the duration
    return bytes(changed)


def _references() -> dict[str, str]:
    target = "/etc/passwd"
    return {
        "hls": f"#EXTM3U\n#EXTINF:9,\nfile://{target}\n#EXT-X-ENDLIST\n",
        "hls over http": "#EXTM3U\n#EXTINF:9,\nhttp://127.0.0.1:22/\n#EXT-X-ENDLIST\n",
        "concat": f"ffconcat version 1.0\nfile '{target}'\n",
        "dash": '<?xml version="1.0"?><MPD xmlns="urn:mpeg:dash:schema:mpd:2011"><Period>'
        f"<AdaptationSet><BaseURL>file://{target}</BaseURL></AdaptationSet></Period></MPD>",
        "sdp": "v=0\no=- 0 0 IN IP4 127.0.0.1\ns=x\nc=IN IP4 127.0.0.1\nm=video 9 RTP/AVP 96\n",
        "svg": f'<svg xmlns="http://www.w3.org/2000/svg"><image href="file://{target}"/></svg>',
        "subtitles": "1\n00:00:00,000 --> 00:00:01,000\nhello\n",
        "script": "#!/bin/sh\ntouch /tmp/hostile\n",
        "eps": "%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n(/etc/passwd) (r) file\n",
        "numpy": "\x93NUMPY\x01\x00v\x00{'descr': '|O', 'fortran_order': False, 'shape': (9,), }",
    }


def _about(kind: str, data: bytes, part: str = "video_url") -> Hostile:
    url = f"data:video/mp4;base64,{base64.b64encode(data).decode()}"
    content = [{"type": part, part: {"url": url}}, {"type": "text", "text": "What happens?"}]
    return _post(kind, {"messages": [{"role": "user", "content": content}], "max_tokens": 4})


# --- documents


def _documents(rng: random.Random) -> Iterator[Hostile]:
    for text in _no_json():
        yield Hostile("no JSON", text, JSON_HEADERS)
    for name, document in _odd_documents().items():
        yield _post(f"odd: {name}", document)
    for kind, text in _huge_json():
        yield Hostile(kind, text, JSON_HEADERS)
    for _ in range(120):
        yield _post("wrong types", _mutated(_valid(), rng))
    for url in _odd_addresses():
        content = [{"type": "video_url", "video_url": {"url": url}}, {"type": "text", "text": "x"}]
        yield _post("odd address", {"messages": [{"role": "user", "content": content}]})
    for kind in ("text/plain", "multipart/form-data", "application/x-www-form-urlencoded", ""):
        yield Hostile("another type", json.dumps(_valid()).encode(), {"Content-Type": kind})
    yield from _odd_uploads(rng)


def _valid() -> dict[str, Any]:
    return {
        "model": "moving-shapes",
        "messages": [
            {"role": "system", "content": "you are a system"},
            {"role": "user", "content": [{"type": "text", "text": "what is a circle?"}]},
        ],
        "temperature": 0.5,
        "top_p": 0.9,
        "max_tokens": 4,
        "stop": ["x"],
        "seed": 1,
        "n": 1,
        "stream": False,
        "fps": 1.0,
        "num_frames": 16,
        "response_format": {"type": "choice", "choices": ["a", "b"]},
    }


_VALUES: list[Any] = [
    None, True, False, 0, -1, 1, 2**31, 2**63, -(2**63) - 1, 10**400, 1e308, -1e308, 1e-308, 0.5,
    "", " ", "a", "1", "\0", "\ud800", "\u202e", "a" * 10_000, [], {}, [[]], [{}], [None], {"a": 1},
    {"type": "text"}, {"url": "x"}, [1, 2, 3], ["a"] * 1000, {"$ref": "#"},
    "file-", "data:", "<|im_end|>",
]  # fmt: skip


def _mutated(document: Any, rng: random.Random) -> Any:
    """The document with one or more of its values changed, removed or renamed."""
    document = copy.deepcopy(document)
    for _ in range(rng.choice([1, 1, 1, 2, 4])):
        places = list(_places(document))
        holder, key = rng.choice(places)
        action = rng.random()
        if action < 0.75:
            holder[key] = copy.deepcopy(rng.choice(_VALUES))
        elif action < 0.9:
            del holder[key]
        elif isinstance(holder, dict):
            holder[f"{key}\0"] = holder.pop(key)
        if not document:
            return document
    return document


def _places(value: Any) -> Iterator[tuple[Any, Any]]:
    items = value.items() if isinstance(value, dict) else enumerate(value)
    for key, inner in list(items):
        yield value, key
        if isinstance(inner, dict | list):
            yield from _places(inner)


def _no_json() -> list[bytes]:
    valid = json.dumps(_valid()).encode()
    return [
        b"", b" ", b"{", b"}", b"[", b"null", b"true", b"0", b'""', b"NaN", b"Infinity",
        b"\xff\xfe",
        b"\xef\xbb\xbf{}", b"{'a': 1}", b'{"a": 1,}', b'{"a" 1}', b"{]", b"/* x */ {}", b"<xml/>",
        b"\0" * 100, b'{"messages": NaN}', b'{"messages": [1e999]}', b'"\\ud800"', b'{"a": "\\x"}',
        valid[:-1], valid[1:], valid + b"x", valid.replace(b'"', b"'"),
        valid.decode().encode("utf-16"),
        b'{"messages": "\xc3\x28"}', b"messages=1&model=x", b"--x\r\n\r\n--x--",
    ]  # fmt: skip


def _odd_documents() -> dict[str, Any]:
    message = {"role": "user", "content": "what is a circle?"}
    video = {"type": "video_url", "video_url": {"url": "data:,x"}}
    schema = {"type": "json_schema", "json_schema": {"name": "a"}}

    def of(form: Any) -> dict[str, Any]:
        return {"messages": [message], "max_tokens": 4, "response_format": form}

    deep: Any = {"type": "string"}
    for _ in range(60):
        deep = {"type": "object", "properties": {"a": deep}}
    return {
        "thousand messages": {"messages": [message] * 1000},
        "thousand videos": {"messages": [{"role": "user", "content": [video] * 1000}]},
        "roles": {"messages": [{"role": r, "content": "x"} for r in ("tool", "function")]},
        "only system": {"messages": [{"role": "system", "content": "x"}]},
        "special tokens": {"messages": [{"role": "user", "content": "<|im_end|><|im_start|>"}]},
        "placeholders": {"messages": [{"role": "user", "content": "<|video_pad|>" * 1000}]},
        "long text": {"messages": [{"role": "user", "content": "red " * 200_000}]},
        "long word": {"messages": [{"role": "user", "content": "x" * 500_000}]},
        "no schema": of(schema),
        "deep schema": of({**schema, "json_schema": {"name": "a", "schema": deep}}),
        "recursive": of({**schema, "json_schema": {"name": "a", "schema": {"$ref": "#"}}}),
        "remote": of(
            {**schema, "json_schema": {"name": "a", "schema": {"$ref": "http://127.0.0.1/"}}}
        ),
        "pattern": of(
            {
                **schema,
                "json_schema": {"name": "a", "schema": {"type": "string", "pattern": "(a+)+$"}},
            }
        ),
        "patterns": of(
            {
                **schema,
                "json_schema": {
                    "name": "a",
                    "schema": {"allOf": [{"pattern": f".*{n}.*"} for n in range(40)]},
                },
            }
        ),
        "many parts": {
            "messages": [{"role": "user", "content": [{"type": "text", "text": "a"}] * 300_000}]
        },
        "many choices": of({"type": "choice", "choices": [str(n) for n in range(256)]}),
        "long choice": of({"type": "choice", "choices": ["red " * 5000, "b"]}),
        "start after end": {"messages": [message], "start": 9, "end": 1},
        "seed": {"messages": [message], "seed": 2**63 - 1, "n": 8, "temperature": 2.0},
        "video of the assistant": {
            "messages": [{"role": "assistant", "content": [video]}, message]
        },
    }


def _huge_json() -> Iterator[tuple[str, bytes]]:
    yield "deep JSON", b"[" * 200_000
    yield "deep JSON", b'{"messages":' * 100_000 + b"1" + b"}" * 100_000
    yield "deep JSON", b'{"messages": ' + b"[" * 5000 + b"]" * 5000 + b"}"
    yield "huge number", b'{"seed": ' + b"9" * 1_000_000 + b"}"
    yield "huge text", b'{"user": "' + b"x" * 30_000_000 + b'", "messages": []}'
    yield "too large", b'{"user": "' + b"x" * 70_000_000 + b'"}'
    yield "many keys", json.dumps({f"k{n}": n for n in range(200_000)}).encode()


def _odd_addresses() -> list[str]:
    return [
        "", " ", "data:", "data:,", "data:;base64,", "data:video/mp4;base64,====",
        "data:x;base64,%%%",
        "DATA:,x", "file:///etc/passwd", "/etc/passwd", "../../etc/passwd", "C:\\x.mp4",
        "\\\\host\\x",
        "http://169.254.169.254/latest/meta-data", "https://localhost/x", "ftp://x/y", "gopher://x",
        "rtsp://127.0.0.1/x", "concat:/etc/passwd|/etc/hosts", "pipe:0", "file-", "file-../../x",
        "file-" + "a" * 10_000, "javascript:1", "\0", "\ud800", "x" * 100_000,
        "subfile:,,:/etc/passwd",
    ]  # fmt: skip


def _odd_uploads(rng: random.Random) -> Iterator[Hostile]:
    def form(body: bytes, boundary: str = "x") -> Hostile:
        headers = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
        return Hostile("odd upload", body, headers, "/v1/files")

    head = b'--x\r\nContent-Disposition: form-data; name="file"; filename="%s"\r\n\r\n'
    yield form(b"")
    yield form(b"--x--\r\n")
    yield form(head % b"a" + b"\r\n--x--\r\n")
    yield form(head % b"../../../etc/passwd" + b"data\r\n--x--\r\n")
    yield form(head % b"\xff\x00\r" + b"data\r\n--x--\r\n")
    yield form((head % b"a" + b"data\r\n") * 50 + b"--x--\r\n")
    yield form(b"--x\r\n" + b"A: b\r\n" * 10_000 + b"\r\ndata\r\n--x--\r\n")
    yield form(head % b"a" + b"never ends")
    yield form(rng.randbytes(10_000))
    yield form(b"--x--", boundary="")
    yield form(b"--x--", boundary="y" * 5000)


def _post(kind: str, document: Any) -> Hostile:
    return Hostile(kind, json.dumps(document).encode(), JSON_HEADERS)
