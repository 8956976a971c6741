"""What a server allows, in numbers; the defaults are safe on a shared machine."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass, field
from typing import Any

MEGABYTE = 1_000_000


@dataclass(frozen=True)
class DecodingLimits:
    """What a client's file may be, and what opening it may cost."""

    duration_s: float = 3600.0
    """Longest video."""
    pixels: int = 3840 * 2160
    """Largest frame, width times height."""
    frames: int = 250_000
    """Most frames in a file."""
    streams: int = 32
    """Most streams in a file; a film has three."""
    pictures: int = 256
    """Most pictures that make one video."""
    time_s: float = 20.0
    """A file that takes longer to open and decode is given up."""
    memory_bytes: int = 2_000 * MEGABYTE
    """Address space of a decoding process, where the system can limit it (not on Windows)."""


@dataclass(frozen=True)
class ServerSettings:
    """How a server behaves."""

    host: str = "127.0.0.1"
    port: int = 8000
    api_keys: frozenset[str] = frozenset()
    """Bearer keys; none: everybody who reaches the server may use it."""
    allow_anonymous: bool = False
    """Serve other machines without keys."""
    allow_fetch: bool = False
    """Fetch http(s) addresses that clients name; never private ones."""
    requests_per_minute: int = 600
    """Per key, or per address without keys; 0: no limit."""
    max_requests: int = 64
    """Completions under way, waiting ones included; more are answered 429."""
    max_answers: int = 16
    """Answers that are decoded together."""
    request_timeout_s: float = 120.0
    """From a request's arrival to the end of its answer."""
    shutdown_s: float = 20.0
    """Answers under way may take so long to end when the server is told to stop."""
    max_body_bytes: int = 64 * MEGABYTE
    """One request; base64 makes a video a third longer."""
    max_pending_bytes: int = 512 * MEGABYTE
    """Bodies of all requests that are being read."""
    max_upload_bytes: int = 1_000 * MEGABYTE
    """All uploads together; the oldest go first."""
    upload_lifetime_s: float = 3600.0
    """An upload that is not used for so long is deleted."""
    max_videos: int = 16
    """Encoded videos kept for the next question."""
    videos_per_request: int = 4
    decoders: int = 2
    """Processes that open clients' files."""
    default_max_tokens: int = 128
    """Longest answer where the client does not say."""
    limits: DecodingLimits = field(default_factory=DecodingLimits)

    def __post_init__(self) -> None:
        smallest: dict[str, Any] = {
            "requests_per_minute": 0,
            "shutdown_s": 0.0,
            **dict.fromkeys(("max_requests", "max_answers", "max_videos", "decoders"), 1),
            **dict.fromkeys(("max_body_bytes", "max_pending_bytes", "max_upload_bytes"), 1),
            **dict.fromkeys(("videos_per_request", "default_max_tokens"), 1),
        }
        for name, least in smallest.items():
            if getattr(self, name) < least:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least {least}")
        if self.request_timeout_s <= 0:
            raise ValueError(f"request_timeout_s is {self.request_timeout_s}; it must be above 0")
        if not (self.is_local or self.api_keys or self.allow_anonymous):
            raise ValueError(
                f"{self.host} can be reached from other machines, and there are no API keys; give "
                "keys, or allow anonymous use expressly"
            )

    @property
    def is_local(self) -> bool:
        """Whether only this machine can reach the server."""
        if self.host == "localhost":
            return True
        try:
            return ipaddress.ip_address(self.host).is_loopback
        except ValueError:
            return False
