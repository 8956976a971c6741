"""From a clip to its visual tokens, computing nothing twice: kept frames, then the engine.

`identify` and `make_pixels` need no engine, so they can run ahead in another thread; `encode` does
the rest. Merging tokens, if asked for, is the last thing that happens to them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import torch

from mobile_videogpt.chat.frame_cache import FrameCache, FrameFeatures, content_key, frame_digest
from mobile_videogpt.engines.base import Engine, Stopwatch, VisualTokens
from mobile_videogpt.models.token_merging import merge_visual_tokens, num_runs
from mobile_videogpt.video.frame_threads import for_each_frame
from mobile_videogpt.video.source import VideoClip

if TYPE_CHECKING:
    from mobile_videogpt.config import MobileVideoGPTConfig
    from mobile_videogpt.processor import MobileVideoGPTProcessor

# Two windows' frames: the one at hand, and the one it overlaps.
CACHED_WINDOWS = 2


@dataclass(frozen=True)
class IdentifiedClip:
    """A clip whose frames are known by their hashes."""

    clip: VideoClip
    digests: list[str]
    """One per sampled frame."""
    key: str
    """`content_key`: equal keys mean equal visual tokens."""
    pixels: dict[str, tuple[torch.Tensor, torch.Tensor]] = field(default_factory=dict)
    """Hash -> (3, H, W) for the image encoder, (3, h, w) for the video encoder, once made."""


class Vision:
    """The visual half of a chat.

    Args:
        engine: runs the encoders.
        processor: makes the pixels.
        config: of the model.
        merge_tokens: share of the image tokens to keep, see `models.token_merging`; None: all.

    Raises:
        ValueError: `merge_tokens` is out of range.
    """

    def __init__(
        self,
        engine: Engine,
        processor: MobileVideoGPTProcessor,
        config: MobileVideoGPTConfig,
        merge_tokens: float | None = None,
    ) -> None:
        if merge_tokens is not None:
            num_runs(config.num_frames, merge_tokens)  # names a bad ratio
        self.engine = engine
        self.processor = processor
        self.config = config
        self.merge_tokens = merge_tokens
        self.frames = FrameCache(CACHED_WINDOWS * config.num_frames)
        self.frames_encoded = 0
        """How many frames went through the image encoder."""

    def identify(self, clip: VideoClip) -> IdentifiedClip:
        """Hash the clip's frames."""
        # Padding repeats one object: it is hashed once.
        objects = {id(frame): frame for frame in clip.frames}
        hashes = for_each_frame(frame_digest, list(objects.values()))
        known = dict(zip(objects, hashes, strict=True))
        digests = [known[id(frame)] for frame in clip.frames]
        return IdentifiedClip(clip, digests, content_key(clip.frame_times, digests, self.identity))

    @property
    def identity(self) -> str:
        """Changes with whatever but the frames decides the visual tokens."""
        merged = "" if self.merge_tokens is None else f" merge={self.merge_tokens!r}"
        return f"{type(self.engine).__name__} {self.engine.fingerprint}{merged}"

    def make_pixels(self, video: IdentifiedClip) -> None:
        """Make pixels of the frames that are not kept, and of those only."""
        frames = dict(zip(video.digests, video.clip.frames, strict=True))
        new = [d for d in frames if d not in video.pixels and d not in self.frames]
        if new:
            images, videos = self.processor.pixels([frames[digest] for digest in new])
            video.pixels.update(zip(new, zip(images[0], videos[0], strict=True), strict=True))

    def look_at_frames(self, video: IdentifiedClip, watch: Stopwatch) -> list[FrameFeatures]:
        """What belongs to each frame of a clip; only new frames go through the image encoder."""
        with watch.measure("preprocess"):
            self.make_pixels(video)
        kept = {digest: self.frames.get(digest) for digest in dict.fromkeys(video.digests)}
        new = [digest for digest, features in kept.items() if features is None]
        frames = {digest: features for digest, features in kept.items() if features is not None}
        frames |= self._encode_frames(new, video, watch)
        return [frames[digest] for digest in video.digests]

    def encode(self, video: IdentifiedClip, watch: Stopwatch) -> VisualTokens:
        """The visual tokens of a clip."""
        rows = self.look_at_frames(video, watch)
        tokens = self.engine.encode_from_features(
            torch.stack([row.image_features for row in rows])[None],  # (1, T, N, D)
            torch.stack([row.video_pixels for row in rows])[None],  # (1, T, 3, h, w)
            watch,
        )
        return tokens if self.merge_tokens is None else self._merge(tokens, watch)

    def _encode_frames(
        self, digests: Sequence[str], video: IdentifiedClip, watch: Stopwatch
    ) -> dict[str, FrameFeatures]:
        """The image encoder's features of new frames, in one batch; they are kept from now on."""
        if not digests:
            return {}
        self.frames_encoded += len(digests)
        images = torch.stack([video.pixels[digest][0] for digest in digests])[None]
        rows = self.engine.encode_frames(images, watch)[0]  # (F, N, D)
        # A row of its own: a view would keep the features of the whole batch alive.
        frames = {
            digest: FrameFeatures(row.clone(), video.pixels[digest][1].clone())
            for digest, row in zip(digests, rows, strict=True)
        }
        for digest, features in frames.items():
            self.frames.add(digest, features)
        return frames

    def _merge(self, tokens: VisualTokens, watch: Stopwatch) -> VisualTokens:
        assert self.merge_tokens is not None
        frames, images = self.config.num_frames, self.config.num_image_tokens
        with watch.measure("projectors"):
            merged, places = merge_visual_tokens(
                tokens.visual_embeds, frames, images, self.merge_tokens
            )
        return replace(tokens, visual_embeds=merged, places=tuple(places.tolist()))
