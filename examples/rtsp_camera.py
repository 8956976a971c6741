"""A camera that is none: MovingShapes clips over RTSP, on and on, to try `watch` with.

    python examples/rtsp_camera.py
    mobile-videogpt watch rtsp://127.0.0.1:8554/shapes --ask "What happens?"

It speaks as much RTSP as a player needs (H.264 over the same TCP connection), to players on this
machine only, and shows everyone the same film at the same time, as a camera does.
"""

from __future__ import annotations

import argparse
import base64
import contextlib
import re
import socket
import struct
import threading
import time
from collections.abc import Iterator, Sequence
from fractions import Fraction
from typing import Any

import av
import numpy as np

from mobile_videogpt.synthetic import make_clip

FPS = 8
PAYLOAD = 1400  # bytes of a packet: what fits Ethernet
CLOCK = 90_000  # ticks per second of H.264 over RTP
_START_CODE = re.compile(rb"\x00\x00\x00?\x01")


def encode(frames: Sequence[np.ndarray], fps: int = FPS) -> list[list[bytes]]:
    """Each frame's H.264 units, of which every second of film begins with a key frame."""
    options = {"tune": "zerolatency", "crf": "14", "g": str(fps)}
    codec: Any = av.CodecContext.create("libx264", "w")
    codec.height, codec.width = frames[0].shape[:2]
    codec.pix_fmt, codec.time_base, codec.framerate = "yuv420p", Fraction(1, fps), Fraction(fps)
    codec.options = options
    packets = []
    for number, frame in enumerate(frames):
        picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
        picture.pts = number
        packets += codec.encode(picture)
    packets += codec.encode(None)
    return [[unit for unit in _START_CODE.split(bytes(packet)) if unit] for packet in packets]


def payloads(unit: bytes) -> Iterator[bytes]:
    """A unit as it is sent: whole, or in numbered fragments (RFC 6184, FU-A)."""
    if len(unit) <= PAYLOAD:
        yield unit
        return
    indicator, kind = (unit[0] & 0xE0) | 28, unit[0] & 0x1F
    pieces = [unit[start : start + PAYLOAD] for start in range(1, len(unit), PAYLOAD)]
    for place, piece in enumerate(pieces):
        ends = (0x80 if place == 0 else 0) | (0x40 if place == len(pieces) - 1 else 0)
        yield bytes([indicator, ends | kind]) + piece


class RtspCamera:
    """Shows a film in a loop, from now on; use it as a context.

    Args:
        film: `encode`'s frames.
        fps: frames per second.
        port: 0 takes a free one.
    """

    def __init__(self, film: list[list[bytes]], fps: int = FPS, port: int = 0) -> None:
        self.film = film
        self.fps = fps
        self.began = time.monotonic()
        self.connections = 0
        """How many there have been."""
        self._listener = socket.create_server(("127.0.0.1", port))
        self._clients: set[socket.socket] = set()
        self._is_out = threading.Event()
        self._is_closed = threading.Event()
        threading.Thread(target=self._accept, daemon=True).start()

    @property
    def url(self) -> str:
        """Its address."""
        return f"rtsp://127.0.0.1:{self._listener.getsockname()[1]}/shapes"

    def position(self, moment: float) -> float:
        """Seconds into the film at a moment of `time.monotonic`."""
        return (moment - self.began) % (len(self.film) / self.fps)

    def cut(self) -> None:
        """End all connections, and take no more until `restore`."""
        self._is_out.set()
        for client in list(self._clients):
            with contextlib.suppress(OSError):
                client.shutdown(socket.SHUT_RDWR)

    def restore(self) -> None:
        """Take connections again."""
        self._is_out.clear()

    def close(self) -> None:
        """End."""
        self._is_closed.set()
        self.cut()
        self._listener.close()

    def __enter__(self) -> RtspCamera:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _accept(self) -> None:
        while not self._is_closed.is_set():
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            if self._is_out.is_set():
                client.close()
                continue
            self.connections += 1
            self._clients.add(client)
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        try:
            with client, contextlib.suppress(OSError, ValueError):
                Session(self, client).run()
        finally:
            self._clients.discard(client)


class Session:
    """One player's connection."""

    def __init__(self, camera: RtspCamera, client: socket.socket) -> None:
        self._camera = camera
        self._client = client
        self._lock = threading.Lock()
        self._is_over = threading.Event()

    def run(self) -> None:
        """Answer requests until the player leaves."""
        try:
            with self._client.makefile("rb") as lines:
                while request := _read_request(lines):
                    self._answer(*request)
        finally:
            self._is_over.set()

    def _answer(self, method: str, url: str, headers: dict[str, str]) -> None:
        status, fields, body = "200 OK", {}, b""
        if method == "OPTIONS":
            fields["Public"] = "OPTIONS, DESCRIBE, SETUP, PLAY, GET_PARAMETER, TEARDOWN"
        elif method == "DESCRIBE":
            body = self._description()
            fields |= {"Content-Type": "application/sdp", "Content-Base": f"{url}/"}
        elif method == "SETUP":
            if "TCP" in headers.get("transport", ""):
                fields["Transport"] = "RTP/AVP/TCP;unicast;interleaved=0-1"
            else:
                status = "461 Unsupported Transport"
        elif method not in ("PLAY", "GET_PARAMETER", "TEARDOWN"):
            status = "501 Not Implemented"
        fields |= {"CSeq": headers.get("cseq", "0"), "Session": "1"}
        fields |= {"Content-Length": str(len(body))} if body else {}
        head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
        self._send(f"RTSP/1.0 {status}\r\n{head}\r\n".encode() + body)
        if method == "PLAY":
            threading.Thread(target=self._play, daemon=True).start()
        if method == "TEARDOWN":
            self._client.shutdown(socket.SHUT_RDWR)

    def _description(self) -> bytes:
        parameters = [u for u in self._camera.film[0] if u[0] & 0x1F in (7, 8)]
        sets = ",".join(base64.b64encode(unit).decode() for unit in parameters)
        lines = (
            *("v=0", "o=- 0 0 IN IP4 127.0.0.1", "s=MovingShapes", "c=IN IP4 127.0.0.1", "t=0 0"),
            *("a=control:*", "m=video 0 RTP/AVP 96", f"a=rtpmap:96 H264/{CLOCK}"),
            f"a=fmtp:96 packetization-mode=1;sprop-parameter-sets={sets}",
            *(f"a=framerate:{self._camera.fps}", "a=control:track0", ""),
        )
        return "\r\n".join(lines).encode()

    def _play(self) -> None:
        """Send frames at their times, from the next key frame on."""
        camera = self._camera
        number = int((time.monotonic() - camera.began) * camera.fps) + 1
        number += -number % camera.fps
        sequence = 0
        with contextlib.suppress(OSError):
            while not self._is_over.wait(
                max(0.0, camera.began + number / camera.fps - time.monotonic())
            ):
                units = camera.film[number % len(camera.film)]
                packets = [payload for unit in units for payload in payloads(unit)]
                for place, payload in enumerate(packets):
                    marker = 0x80 if place == len(packets) - 1 else 0
                    ticks = number * CLOCK // camera.fps & 0xFFFFFFFF
                    head = struct.pack(
                        "!BBHII", 0x80, 96 | marker, sequence & 0xFFFF, ticks, 0x51A9E5
                    )
                    sequence += 1
                    packet = head + payload
                    self._send(struct.pack("!cBH", b"$", 0, len(packet)) + packet)
                number += 1

    def _send(self, data: bytes) -> None:
        with self._lock:
            self._client.sendall(data)


def _read_request(lines: Any) -> tuple[str, str, dict[str, str]] | None:
    """Method, address and headers of the next request; what a player says about RTP is skipped."""
    while (first := lines.read(1)) == b"$":
        _, size = struct.unpack("!BH", lines.read(3))
        lines.read(size)
    if not first:
        return None
    method, url, _ = (first + lines.readline()).decode().split(" ", 2)
    headers = {}
    while line := lines.readline().decode().strip():
        name, _, value = line.partition(":")
        headers[name.lower()] = value.strip()
    lines.read(int(headers.get("content-length", 0)))
    return method, url, headers


def main() -> None:
    """Show clips until interrupted."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--port", type=int, default=8554)
    parser.add_argument("--clips", type=int, default=8, help="how many different ones")
    args = parser.parse_args()
    clips = [make_clip(seed, "test") for seed in range(args.clips)]
    film = encode([frame for clip in clips for frame in clip.frames()])
    with RtspCamera(film, port=args.port) as camera, contextlib.suppress(KeyboardInterrupt):
        print(f"{camera.url} shows {len(clips)} clips of four seconds in turn; Ctrl-C ends it")
        while True:
            time.sleep(3600)


if __name__ == "__main__":
    main()
