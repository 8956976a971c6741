"""What is measured: plain data that a command line fills in and a process boundary can cross."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

QUESTION = "What happens in the video?"
FOLLOW_UP = "How many objects are there?"

# Parts of an answer that look at frames, under the names of `engines.base.PARTS`.
VISION = ("image_encoder", "selection", "video_encoder", "projectors")

# Name on the command line -> module and class below `benchmark.peers`.
PEERS = {
    "llava-onevision-0.5b": "llava_onevision.LlavaOneVision",
    "smolvlm2-500m": "smolvlm2.SmolVLM2",
    "llama.cpp": "llama_cpp.LlamaCpp",
}


@dataclass(frozen=True)
class Settings:
    """One contestant's settings."""

    kind: str = "ours"
    """"ours", or a name of `PEERS`."""
    model: str = "moving-shapes"
    """A checkpoint, or with `is_random` a preset."""
    is_random: bool = False
    """Weights drawn at random: speed does not depend on their values."""
    engine: str = "auto"
    dtype: str = "auto"
    device: str = "auto"
    num_frames: int | None = None
    """Sampled frames, where they differ from the preset's; only with random weights."""
    merge_tokens: float | None = None
    """Share of the image tokens that is kept."""
    clip: str = ""
    """The video file that is asked about."""
    clips: tuple[str, ...] = ()
    """Other files whose decoding is timed."""
    extras: tuple[str, ...] = ("costs", "clips", "video_encoder")
    """What is also measured, once, beside answering: see `Ours.extras`."""
    window: bool = False
    """Also time a live window that shares half its frames with the one before."""
    new_tokens: int = 32
    """Tokens decoded in a run."""
    threads: int | None = None
    """CPU threads; None leaves the libraries' own choice."""
    peer_dtype: str = "float32"
    """Number format of the peers from transformers."""
    is_debugged: bool = False
    """Show the traceback of every failure."""

    def as_dict(self) -> dict[str, Any]:
        """As keywords, for JSON."""
        return asdict(self)
