"""Encoded videos: each content once, the last few in memory, all of them perhaps on disk."""

from __future__ import annotations

import time
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from typing import TYPE_CHECKING, Any

from mobile_videogpt.chat.encoded_video import EncodedVideo
from mobile_videogpt.chat.read_ahead import read_ahead
from mobile_videogpt.chat.stored_video import StoredVideos
from mobile_videogpt.chat.video_part import VideoPart
from mobile_videogpt.chat.vision import IdentifiedClip, Vision
from mobile_videogpt.engines.base import Prefix, Stopwatch
from mobile_videogpt.video.source import VideoClip, read_video

if TYPE_CHECKING:
    from mobile_videogpt.processor import MobileVideoGPTProcessor


class OpenVideos:
    """Turns what a user names into `EncodedVideo`s, and keeps them by content.

    Args:
        vision: makes visual tokens of frames.
        stored: what outlives the process.
        processor: writes the prompt around the tokens.
        capacity: how many stay in memory.
    """

    def __init__(
        self,
        vision: Vision,
        stored: StoredVideos,
        processor: MobileVideoGPTProcessor,
        capacity: int,
    ) -> None:
        self.vision = vision
        self.stored = stored
        self.capacity = capacity
        self._engine = vision.engine
        self._processor = processor
        self._kept: OrderedDict[str, EncodedVideo] = OrderedDict()

    def forget(self) -> None:
        """Let go of all that is in memory."""
        self._kept.clear()
        self.vision.frames.clear()

    def open(
        self, video: Any, watch: Stopwatch, part: dict[str, Any] | None = None
    ) -> EncodedVideo:
        """Encode what is not encoded yet.

        Args:
            video: anything that `VideoChat.open` takes.
            watch: receives the seconds of each step.
            part: start, end and fps for `read_video`.

        Raises:
            VideoError: it cannot be read.
            ValueError: it was opened by another model, or is open and a part of it is asked for.
        """
        part = part or {}
        if isinstance(video, EncodedVideo):
            self._check_own(video, part)
            return video
        with watch.measure("decode"):
            identified = self._identify(video, part)
        return self.encode(identified, watch)

    def open_each(
        self, videos: Iterable[Any], part: dict[str, Any], ahead: int
    ) -> Iterator[tuple[Any, EncodedVideo | Exception]]:
        """Every video with what `open` returns or raises; see `VideoChat.open_each`."""
        for video, future in read_ahead(lambda v: self.read(v, part), videos, ahead):
            watch = self._engine.stopwatch()
            try:
                identified, seconds = future.result()
                watch.seconds["decode"] += seconds
                yield video, self.encode(identified, watch)
            except Exception as error:
                yield video, error

    def read(self, video: Any, part: dict[str, Any]) -> tuple[IdentifiedClip, float]:
        """Decode a video and hash its frames: what needs no engine; and the seconds it took."""
        start = time.perf_counter()
        if isinstance(video, VideoPart):
            video, part = video.source, {n: getattr(video, n) for n in ("start", "end", "fps")}
        return self._identify(video, part), time.perf_counter() - start

    def prepare(self, video: Any, part: dict[str, Any]) -> IdentifiedClip:
        """Decode a video, hash its frames, and make pixels of those that are not kept."""
        identified, _ = self.read(video, part)
        self.vision.make_pixels(identified)
        return identified

    def _identify(self, video: Any, part: dict[str, Any]) -> IdentifiedClip:
        if isinstance(video, IdentifiedClip):
            return video
        if isinstance(video, VideoClip):
            return self.identify(video)
        return self.identify(read_video(video, count=self.vision.config.num_frames, **part))

    def identify(self, clip: VideoClip) -> IdentifiedClip:
        """Hash a clip's frames."""
        return self.vision.identify(clip)

    def encode(self, video: IdentifiedClip, watch: Stopwatch) -> EncodedVideo:
        """The encoded clip: still open, from the disk, or computed now."""
        if video.key in self._kept:
            self._kept.move_to_end(video.key)
            return self._kept[video.key]
        tokens = self.stored.tokens(video.key)
        if tokens is None:
            tokens = self.vision.encode(video, watch)
            self.stored.keep_tokens(video.key, tokens)
        encoded = EncodedVideo.from_clip(video.clip, tokens, video.key, watch.report())
        encoded.weights = self._engine.fingerprint
        self._kept[video.key] = encoded
        while len(self._kept) > self.capacity:
            self._kept.popitem(last=False)
        return encoded

    def _check_own(self, video: EncodedVideo, part: dict[str, Any]) -> None:
        if any(value is not None for value in part.values()):
            raise ValueError("the video is open already; give start, end and fps with its path")
        if video.weights != self._engine.fingerprint:
            raise ValueError("the video was opened by another model; open it with this one")

    def prefix(self, video: EncodedVideo, watch: Stopwatch) -> Prefix:
        """The language model's state after the visual tokens, computed for the first question."""
        if video.prefix is None:
            ids = self._processor.prefix_ids(num_visual_tokens=video.num_visual_tokens)
            with watch.measure("prefill"):
                video.prefix = self.stored.prefix(video.key, ids) or self._prefill(video, ids)
        return video.prefix

    def _prefill(self, video: EncodedVideo, token_ids: list[int]) -> Prefix:
        """Let the language model read a video's prefix."""
        options = {}
        if video.places is not None:
            # Tokens that were not merged stay where they would stand among all.
            start = len(token_ids) - video.num_visual_tokens
            options["positions"] = [*range(start), *(start + place for place in video.places)]
        prefix = self._engine.prefill(token_ids, video.visual_embeds, **options)
        self.stored.keep_prefix(video.key, prefix)
        return prefix
