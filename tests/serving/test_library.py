"""Which videos a server keeps."""

import asyncio
from types import SimpleNamespace

import numpy as np
import pytest

from mobile_videogpt.serving.library import VideoLibrary


class Pool:
    """Decodes everything to one black frame."""

    def __init__(self):
        self.decoded = []

    async def decode(self, kind, files, sampling):
        self.decoded.append(files)
        return SimpleNamespace(frames=[np.zeros((4, 4, 3), np.uint8)])


def media(key, kind="video"):
    return SimpleNamespace(key=key, kind=kind, read=lambda: key, sampling=None)


def decoded(capacity, *wanted):
    """What had to be decoded when these were asked for, one after the other."""
    pool = Pool()
    library = VideoLibrary(pool, lambda clip: clip, capacity)

    async def ask():
        for item in wanted:
            await library.get(item)
            await asyncio.sleep(0)  # callbacks of what is done
        assert len(library) <= capacity

    asyncio.run(ask())
    return pool.decoded


def test_the_videos_that_were_used_last_stay():
    wanted = [media(key) for key in ("a", "b", "a", "c", "a", "b")]
    assert decoded(2, *wanted) == ["a", "b", "c", "b"]


@pytest.mark.parametrize("windows", [4, 40])
def test_a_camera_does_not_drive_out_files(windows):
    files = [media("a"), media("b")]
    camera = [media(f"window {number}", "pictures") for number in range(windows)]
    assert decoded(4, *files, *camera, *files)[-1] == f"window {windows - 1}"


def test_pictures_alone_have_all_of_the_room():
    pictures = [media(str(number), "pictures") for number in range(4)]
    assert decoded(4, *pictures, *pictures) == ["0", "1", "2", "3"]


class SlowPool(Pool):
    """Decodes when it is told to."""

    def __init__(self):
        super().__init__()
        self.is_let_go = asyncio.Event()

    async def decode(self, kind, files, sampling):
        await self.is_let_go.wait()
        return await super().decode(kind, files, sampling)


def test_a_video_that_nobody_waits_for_is_not_kept():
    async def ask():
        pool = SlowPool()
        library = VideoLibrary(pool, lambda clip: clip, 4)
        asked = [asyncio.ensure_future(library.get(media("a"))) for _ in range(2)]
        await asyncio.sleep(0.01)
        asked[0].cancel()
        await asyncio.gather(asked[0], return_exceptions=True)
        library.forget_unseen(media("a"))
        assert len(library) == 1  # the other one waits
        asked[1].cancel()
        await asyncio.gather(asked[1], return_exceptions=True)
        library.forget_unseen(media("a"))
        assert len(library) == 0 and not library._wanted
        pool.is_let_go.set()
        held = await library.get(media("a"))
        library.forget_unseen(media("a"))
        assert len(library) == 0  # the model has not seen it
        held = await library.get(media("a"))
        held.encoded = "seen"
        library.forget_unseen(media("a"))
        assert len(library) == 1

    asyncio.run(ask())
