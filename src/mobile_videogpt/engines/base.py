"""What every engine offers, and the plain data that crosses the boundary.

An engine knows tensors and token ids. It knows nothing of video files, tokenizers or text, so that
another way of running the three parts (ONNX Runtime, GGUF) can take the torch engine's place.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    import torch

ENGINES = ("torch", "onnx")

# The parts whose seconds are reported, in the order in which they run.
PARTS = (
    "decode",
    "preprocess",
    "image_encoder",
    "selection",
    "video_encoder",
    "projectors",
    "prefill",
    "decode_tokens",
)


def check_engine_name(name: str) -> str:
    """`name`, once it is known to be an engine's or "auto".

    Raises:
        ValueError: there is no engine of that name.
    """
    if name not in ("auto", *ENGINES):
        raise ValueError(f"unknown engine {name!r}; choose one of auto, {', '.join(ENGINES)}")
    return name


class Stopwatch:
    """Seconds spent per part; the same part may be measured several times."""

    def __init__(self, synchronize: Callable[[], None] | None = None) -> None:
        # A GPU works behind the caller's back: wait for it before reading the clock.
        self._synchronize = synchronize or (lambda: None)
        self._start = time.perf_counter()
        self.seconds: dict[str, float] = dict.fromkeys(PARTS, 0.0)

    @contextmanager
    def measure(self, part: str) -> Iterator[None]:
        """Add the time that the block takes to `part`."""
        self._synchronize()
        start = time.perf_counter()
        try:
            yield
        finally:
            self._synchronize()
            self.seconds[part] += time.perf_counter() - start

    def report(self) -> dict[str, float]:
        """Seconds per part, and `total` since this watch was made."""
        return {**self.seconds, "total": time.perf_counter() - self._start}


Pause = Callable[[], None] | None
"""What is called between the pieces of long work, so that something else may be done meanwhile."""


def go_on() -> None:
    """A pause in which nothing happens."""


def in_pieces(length: int, size: int, pause: Pause) -> Iterator[slice]:
    """Long work cut into pieces, with a pause between two; all at once where nobody wants one.

    >>> list(in_pieces(5, 2, lambda: None))
    [slice(0, 2, None), slice(2, 4, None), slice(4, 5, None)]
    >>> list(in_pieces(5, 2, None))
    [slice(0, 5, None)]
    """
    if pause is None:
        yield slice(0, length)
        return
    for start in range(0, max(length, 1), size):
        if start:
            pause()
        yield slice(start, min(start + size, length))


class TokenGuide(Protocol):
    """Keeps an answer to a form; made for one answer, because it follows what is said."""

    def restrict(self, logits: torch.Tensor) -> None:
        """Set the logits, (1, V), of what cannot come next to minus infinity, in place."""

    def accept(self, token_id: int) -> None:
        """Note what came next."""


@dataclass(frozen=True)
class GenerationOptions:
    """How an answer is generated; the defaults are greedy decoding."""

    max_new_tokens: int = 128
    """Longest answer, in tokens."""
    do_sample: bool = False
    """Draw tokens at random instead of taking the likeliest."""
    temperature: float = 1.0
    """Below 1 sharpens, above 1 flattens the distribution that is sampled from."""
    top_k: int | None = None
    """Sample only from the k likeliest tokens."""
    top_p: float | None = None
    """Sample only from the likeliest tokens whose probabilities reach this sum."""
    repetition_penalty: float | None = None
    """Above 1 makes tokens less likely that were said already; None: as the checkpoint says."""
    seed: int | None = None
    """Makes sampling repeatable."""
    guide: TokenGuide | None = None
    """Keeps the answer to a form, such as JSON of a schema."""

    def __post_init__(self) -> None:
        checks = {
            "max_new_tokens": (self.max_new_tokens >= 1, "at least 1"),
            "temperature": (self.temperature > 0, "above 0 (do_sample=False is greedy)"),
            "top_k": (self.top_k is None or self.top_k >= 1, "None or at least 1"),
            "top_p": (self.top_p is None or 0 < self.top_p <= 1, "None, or above 0 and at most 1"),
            "repetition_penalty": (
                self.repetition_penalty is None or self.repetition_penalty > 0,
                "None or above 0",
            ),
        }
        for name, (is_allowed, allowed) in checks.items():
            if not is_allowed:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be {allowed}")


@dataclass(frozen=True)
class VisualTokens:
    """One encoded video: what the language model sees, and which frames were chosen."""

    visual_embeds: torch.Tensor
    """(1, V, E)"""
    frame_scores: tuple[float, ...]
    """One per sampled frame; higher is more typical of its chunk."""
    kept_frames: tuple[int, ...]
    """Ascending positions among the sampled frames."""
    places: tuple[int, ...] | None = None
    """Where merged tokens stood among all visual tokens, ascending; None: nothing was merged."""


@dataclass(frozen=True)
class Prefix:
    """The visual prefix after the language model has read it; questions read it, none change it."""

    token_ids: tuple[int, ...]
    state: Any
    """The engine's own: the key-value cache."""
    gap: int = 0
    """Positions that merged tokens left empty: what follows stands so much further on."""


class Engine(Protocol):
    """Runs the model: encode a video once, then generate or score on its prefix many times."""

    name: str
    """One of `ENGINES`."""

    pause: Pause
    """Set by who shares the engine's thread with answers under way: it is called within all that
    takes long, and may decode and read other prompts. What it takes counts into `Stopwatch`es."""

    @property
    def fingerprint(self) -> str:
        """Changes when the weights do."""

    @property
    def device(self) -> torch.device:
        """Where the work is done."""

    def number_formats(self) -> dict[str, str]:
        """The format in which each part's matrices are kept."""

    def stopwatch(self) -> Stopwatch:
        """A stopwatch that waits for this engine's device."""

    def encode(
        self, image_pixels: torch.Tensor, video_pixels: torch.Tensor, watch: Stopwatch
    ) -> VisualTokens:
        """Encode one video's frames, (1, T, 3, H, W) for each of the two encoders."""

    def encode_frames(self, image_pixels: torch.Tensor, watch: Stopwatch) -> torch.Tensor:
        """The image encoder's features of any number of frames: (1, F, 3, H, W) -> (1, F, N, D).

        A frame's features do not depend on the frames beside it, so that they can be kept.
        """

    def encode_from_features(
        self, image_features: torch.Tensor, video_pixels: torch.Tensor, watch: Stopwatch
    ) -> VisualTokens:
        """The rest of `encode`: (1, T, N, D) of the image encoder, (1, T, 3, h, w) pixels."""

    def prefill(
        self,
        token_ids: Sequence[int],
        visual_embeds: torch.Tensor,
        positions: Sequence[int] | None = None,
    ) -> Prefix:
        """Let the language model read the prefix; its placeholders become `visual_embeds`.

        `positions`, ascending, one per token, are those of the prompt before its tokens were
        merged; None: 0, 1, 2 and so on. What follows the prefix continues after the last one.
        """

    def save_prefix(self, prefix: Prefix) -> dict[str, torch.Tensor]:
        """What `prefill` computed, as tensors that may be written to a file."""

    def load_prefix(
        self, token_ids: Sequence[int], tensors: dict[str, torch.Tensor], gap: int = 0
    ) -> Prefix:
        """The prefix that `save_prefix` made tensors of, in this engine or another like it."""

    def generate(
        self, prefix: Prefix, token_ids: Sequence[int], options: GenerationOptions, watch: Stopwatch
    ) -> Generator[int, None, None]:
        """Yield the ids that continue prefix + `token_ids`, up to and without the end token."""

    def score(
        self, prefix: Prefix, token_ids: Sequence[int], continuations: Sequence[Sequence[int]]
    ) -> list[list[float]]:
        """Log-probability of each token of each continuation of prefix + `token_ids`."""
