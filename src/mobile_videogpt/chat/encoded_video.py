"""A video after both encoders: what questions are asked about."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
import torch

from mobile_videogpt.engines.base import Prefix, VisualTokens
from mobile_videogpt.video.source import VideoClip


@dataclass(eq=False)
class EncodedVideo:
    """A video as the language model sees it; made by `VideoChat.open`."""

    name: str
    frames: list[np.ndarray]
    """The sampled frames, uint8 (H, W, 3)."""
    frame_times: list[float]
    """Seconds from the start of the video, one per sampled frame."""
    frame_scores: list[float]
    """Attention that each frame's patches receive (paper, eq. 3); higher is kept."""
    kept_frames: list[int]
    """Positions among the sampled frames of those that the video encoder sees, ascending."""
    visual_embeds: torch.Tensor
    """(1, V, E)"""
    key: str
    """Hash of frames, times and weights: equal keys mean equal tokens."""
    timings: dict[str, float]
    """Seconds per part that opening this video took."""
    duration_s: float | None = None
    weights: str = field(default="", repr=False)
    """Fingerprint of the model that encoded it."""
    places: tuple[int, ...] | None = field(default=None, repr=False)
    """Where merged tokens stood among all visual tokens; None: nothing was merged."""
    prefix: Prefix | None = field(default=None, repr=False)
    """The language model's state after the visual tokens, once a question was asked."""

    @property
    def num_visual_tokens(self) -> int:
        """How many tokens the video takes in the prompt."""
        return self.visual_embeds.shape[1]

    @classmethod
    def from_clip(
        cls, clip: VideoClip, tokens: VisualTokens, key: str, timings: dict[str, float]
    ) -> EncodedVideo:
        """Put together what the video road and the engine found out."""
        return cls(
            name=clip.name,
            frames=clip.frames,
            frame_times=clip.frame_times,
            frame_scores=list(tokens.frame_scores),
            kept_frames=list(tokens.kept_frames),
            visual_embeds=tokens.visual_embeds,
            key=key,
            timings=timings,
            duration_s=clip.duration_s,
            places=tokens.places,
        )
