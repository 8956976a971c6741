"""What the API calls: finds and decodes a request's videos, queues it, yields what comes back."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

from mobile_videogpt.serving.decoding.pool import DecodePool
from mobile_videogpt.serving.errors import bad_request, shutting_down, too_late
from mobile_videogpt.serving.jobs import Event, Failed, Finished, HeldVideo, Job, Order
from mobile_videogpt.serving.json_guides import JsonGuides
from mobile_videogpt.serving.library import VideoLibrary
from mobile_videogpt.serving.media import Media, MediaReader, MediaRequest
from mobile_videogpt.serving.scheduling.scheduler import Scheduler
from mobile_videogpt.serving.settings import ServerSettings
from mobile_videogpt.serving.uploads import Uploads
from mobile_videogpt.video.errors import VideoError

if TYPE_CHECKING:
    from mobile_videogpt.chat import VideoChat

logger = logging.getLogger(__name__)

# Ordinary text has three to five.
_CHARACTERS_PER_TOKEN = 16
# Requests whose decoded frames may wait for the model, beyond those that are being decoded.
_DECODED_AHEAD = 2


class Service:
    """One model and all that serves it.

    Args:
        chat: the model; the service owns it from now on.
        settings: what is allowed.
        name: what clients call the model.
    """

    def __init__(self, chat: VideoChat, settings: ServerSettings, name: str) -> None:
        self.settings = settings
        self.name = name
        self.created = int(time.time())
        self.frames_per_video = chat.config.num_frames
        self.runs_as = {
            "engine": chat.engine.name,
            "dtype": chat.dtype,
            "device": chat.engine.device.type,
            "num_frames": chat.config.num_frames,
            "context_length": chat.config.text_config.max_position_embeddings,
        }
        """How the model is executed, for clients to see."""
        self.longest_text = _CHARACTERS_PER_TOKEN * chat.config.text_config.max_position_embeddings
        self.uploads = Uploads(settings)
        self.pool = DecodePool(settings.limits, settings.decoders)
        self.library = VideoLibrary(self.pool, chat.prepare, settings.max_videos)
        self.scheduler = Scheduler(chat, settings.max_answers)
        self.guides = JsonGuides(chat.processor.tokenizer, chat.config.text_config.vocab_size)
        self.is_draining = False
        self._reader = MediaReader(settings, self.uploads)
        self._undecoded = asyncio.Semaphore(settings.decoders + _DECODED_AHEAD)
        self._jobs: set[Job] = set()

    def start(self) -> None:
        """Begin to work."""
        self.scheduler.start()
        self.pool.start()

    async def close(self) -> None:
        """End everything; what is under way fails."""
        self.is_draining = True
        await asyncio.to_thread(self.scheduler.stop)
        self.pool.close()
        self.uploads.close()

    async def drain(self, seconds: float) -> None:
        """Take no more requests; let those under way end, for so long."""
        self.is_draining = True
        until = time.monotonic() + seconds
        while self._jobs and time.monotonic() < until:
            await asyncio.sleep(0.05)
        if self._jobs:
            logger.warning("%d requests did not end in time and are refused", len(self._jobs))
        for job in list(self._jobs):
            self.scheduler.cancel(job)
            job.events.put_nowait(Failed(shutting_down()))

    @property
    def is_well(self) -> bool:
        """Whether requests make sense."""
        return self.scheduler.is_alive and not self.is_draining

    async def run(
        self, order: Order, media: Sequence[MediaRequest], owner: str, deadline: float
    ) -> AsyncIterator[Event]:
        """Everything that happens to a request, up to `Finished`.

        To stop early, close the iterator.

        Args:
            order: what is wanted.
            media: the videos of its messages.
            owner: whose uploads may be named.
            deadline: on the clock of `time.monotonic`.

        Raises:
            ApiError: it is refused, or went wrong; at any time.
        """
        if not self.is_well:
            raise shutting_down()
        try:
            async with asyncio.timeout(deadline - time.monotonic()):
                files = [await self._reader.read(request, owner) for request in media]
                job = await self._prepare(order, files, media, owner, deadline)
                files = [replace(item, files=()) for item in files]  # they are decoded
        except TimeoutError:
            raise too_late() from None
        self._jobs.add(job)
        try:
            self.scheduler.submit(job)
            while True:
                event = await job.events.get()
                if isinstance(event, Failed):
                    raise event.error
                yield event
                if isinstance(event, Finished):
                    return
        finally:
            self.scheduler.cancel(job)
            self._jobs.discard(job)
            self._forget_frames(job, files)

    async def _prepare(
        self,
        order: Order,
        files: Sequence[Media],
        media: Sequence[MediaRequest],
        owner: str,
        deadline: float,
    ) -> Job:
        """A job whose videos are decoded at least."""
        arrived = time.monotonic()
        if all(item in self.library for item in files):
            videos = await self._decode(files, media)
            return Job(order, videos, deadline, owner, arrived=arrived)
        await self._undecoded.acquire()
        release = _Once(self._undecoded)
        try:
            videos = await self._decode(files, media)
        except BaseException:
            release()
            raise
        return Job(order, videos, deadline, owner, on_prepared=release, arrived=arrived)

    async def _decode(
        self, files: Sequence[Media], media: Sequence[MediaRequest]
    ) -> list[HeldVideo]:
        videos = []
        for item, request in zip(files, media, strict=True):
            try:
                videos.append(await self.library.get(item))
            except BaseException as error:
                for known in files:
                    self.library.forget_unseen(known)
                if isinstance(error, VideoError):
                    message = str(error)
                    raise bad_request(message, request.param, "invalid_video") from None
                raise
        return videos

    def _forget_frames(self, job: Job, files: Sequence[Media]) -> None:
        job.on_prepared()
        for item in files:
            self.library.forget_unseen(item)


class _Once:
    """Releases a semaphore the first time it is called."""

    def __init__(self, semaphore: asyncio.Semaphore) -> None:
        self._semaphore: asyncio.Semaphore | None = semaphore

    def __call__(self) -> None:
        if self._semaphore is not None:
            self._semaphore.release()
            self._semaphore = None
