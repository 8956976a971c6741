"""Videos of all clients by content: each is decoded and encoded once, the last few are kept."""

from __future__ import annotations

import asyncio
from collections import Counter, OrderedDict
from collections.abc import Callable
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from mobile_videogpt.serving.decoding.pool import DecodePool
from mobile_videogpt.serving.jobs import HeldVideo
from mobile_videogpt.serving.media import Media
from mobile_videogpt.video.source import VideoClip

if TYPE_CHECKING:
    from mobile_videogpt.chat.vision import IdentifiedClip

# Pixels along the longer side of what is kept of a frame: enough to show it.
_THUMBNAIL = 160


class VideoLibrary:
    """Used on the event loop.

    Args:
        pool: decodes what is not here.
        prepare: makes pixels of what was decoded; called in other threads.
        capacity: videos that are kept.
    """

    def __init__(
        self, pool: DecodePool, prepare: Callable[[VideoClip], IdentifiedClip], capacity: int
    ) -> None:
        self.hits = 0
        self.misses = 0
        self._pool = pool
        self._prepare = prepare
        self._capacity = capacity
        self._kept: OrderedDict[str, asyncio.Future[HeldVideo]] = OrderedDict()
        self._pictures: set[str] = set()
        self._wanted: Counter[str] = Counter()

    def __len__(self) -> int:
        return len(self._kept)

    def __contains__(self, media: Media) -> bool:
        return media.key in self._kept

    async def get(self, media: Media) -> HeldVideo:
        """The video, decoded at least; whoever else wants it now waits for the same decoding.

        Raises:
            VideoError: it cannot be decoded.
        """
        future = self._kept.get(media.key)
        if future is not None:
            self.hits += 1
            self._kept.move_to_end(media.key)
        else:
            self.misses += 1
            future = asyncio.ensure_future(self._decode(media))
            self._kept[media.key] = future
            if media.kind == "pictures":
                self._pictures.add(media.key)
            future.add_done_callback(lambda done: self._settle(media.key, done))
        self._wanted[media.key] += 1
        try:
            # Shielded: one client that goes away must not end what another waits for.
            return await asyncio.shield(future)
        finally:
            self._wanted[media.key] -= 1
            if not self._wanted[media.key]:
                del self._wanted[media.key]

    def forget_unseen(self, media: Media) -> None:
        """Keep no frames that the model never saw and nobody waits for: they are large."""
        future = self._kept.get(media.key)
        if future is None or self._wanted[media.key]:
            return
        if not future.done():
            future.cancel()
        elif future.cancelled() or future.exception() or future.result().encoded is not None:
            return
        del self._kept[media.key]

    async def _decode(self, media: Media) -> HeldVideo:
        files = await asyncio.to_thread(media.read)
        clip = await self._pool.decode(media.kind, files, media.sampling)
        return await asyncio.to_thread(self._held, clip)

    def _held(self, clip: VideoClip) -> HeldVideo:
        """What the model's thread need not do itself."""
        frames = {id(frame): frame for frame in clip.frames}  # the last one may be repeated
        small = {key: _thumbnail(frame) for key, frame in frames.items()}
        return HeldVideo(self._prepare(clip), [small[id(frame)] for frame in clip.frames])

    def _settle(self, key: str, done: asyncio.Future[HeldVideo]) -> None:
        """Forget what failed, and what was not used for longest."""
        failed = done.cancelled() or done.exception() is not None
        if failed and self._kept.get(key) is done:
            del self._kept[key]
        while len(self._kept) > self._capacity and (old := self._least_wanted()) is not None:
            del self._kept[old]
        self._pictures &= self._kept.keys()

    def _least_wanted(self) -> str | None:
        """What makes room: of videos made of pictures no more than half of the room is kept.

        Windows of a camera come every second and are asked about once; files are asked about again.
        """
        done = [key for key, future in self._kept.items() if future.done()]
        pictures = [key for key in done if key in self._pictures]
        crowd = pictures if len(pictures) > self._capacity // 2 else done
        return crowd[0] if crowd else None


def _thumbnail(frame: np.ndarray) -> np.ndarray:
    image = Image.fromarray(frame)
    image.thumbnail((_THUMBNAIL, _THUMBNAIL))
    return np.asarray(image)
