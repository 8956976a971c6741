"""Decoding processes and who waits for them; one that hangs or dies takes only its file along."""

from __future__ import annotations

import asyncio
import logging
import os
import queue
import subprocess
import sys
import threading
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import IO, cast

from mobile_videogpt.serving.decoding.wire import (
    Sampling,
    WireError,
    read_clip,
    read_header,
    request_header,
    write_message,
)
from mobile_videogpt.serving.settings import DecodingLimits
from mobile_videogpt.video.errors import VideoError
from mobile_videogpt.video.source import VideoClip

logger = logging.getLogger(__name__)

_START_LIMIT_S = 60.0
_WORKER = "mobile_videogpt.serving.decoding.worker"
# What a program needs to start; the rest, keys above all, is none of a decoder's business.
_ENVIRONMENT = ("PATH", "PYTHONPATH", "LANG", "LC_ALL", "LD_LIBRARY_PATH", "SYSTEMROOT", "TMPDIR")


class DecodePool:
    """Opens clients' files in `workers` processes, one file each at a time.

    Args:
        limits: what a file may be, and what it may cost.
        workers: processes; started when they are first needed.
    """

    def __init__(self, limits: DecodingLimits, workers: int) -> None:
        self.limits = limits
        self.deaths = 0
        """Processes that crashed or were killed, for the metrics."""
        self._threads = ThreadPoolExecutor(workers, thread_name_prefix="decode")
        self._idle: queue.LifoQueue[_Process] = queue.LifoQueue()
        self._all: set[_Process] = set()
        self._lock = threading.Lock()

    async def decode(self, kind: str, files: Sequence[bytes], sampling: Sampling) -> VideoClip:
        """The frames of a video (`kind` "video", one file), or of "pictures" in their order.

        Raises:
            VideoError: it cannot be read, is beyond a limit, or the process died of it.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._threads, self._decode, kind, files, sampling)

    def start(self) -> None:
        """Start one process ahead of the first request."""
        self._threads.submit(lambda: self._idle.put(self._take()))

    def close(self) -> None:
        """End all processes."""
        with self._lock:
            processes = list(self._all)
        for process in processes:
            process.kill()
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _decode(self, kind: str, files: Sequence[bytes], sampling: Sampling) -> VideoClip:
        process = self._take()
        try:
            clip = process.decode(kind, files, sampling)
        except (WireError, OSError) as error:
            self._drop(process)
            self.deaths += 1
            logger.warning("a decoding process ended: %s", process.why)
            raise VideoError(process.why) from error
        except VideoError:
            self._give_back(process)
            raise
        self._give_back(process)
        return clip

    def _give_back(self, process: _Process) -> None:
        if process.ends:
            self._drop(process)
        else:
            self._idle.put(process)

    def _take(self) -> _Process:
        while True:
            try:
                process = self._idle.get_nowait()
            except queue.Empty:
                process = _Process(self.limits)
                with self._lock:
                    self._all.add(process)
                return process
            if process.is_alive:
                return process
            self._drop(process)

    def _drop(self, process: _Process) -> None:
        process.kill()
        with self._lock:
            self._all.discard(process)


class _Process:
    """One decoding process."""

    def __init__(self, limits: DecodingLimits) -> None:
        self._limits = limits
        self.why = "the video cannot be decoded: its decoder crashed."
        self.ends = False
        """It said that it can do no more."""
        self._popen = subprocess.Popen(
            [sys.executable, "-m", _WORKER],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=bare_environment(),
        )
        with self._at_most(_START_LIMIT_S, "a decoding process did not start in time."):
            write_message(self._requests, asdict(limits))
            read_header(self._replies)

    @property
    def _requests(self) -> IO[bytes]:
        return cast(IO[bytes], self._popen.stdin)

    @property
    def _replies(self) -> IO[bytes]:
        return cast(IO[bytes], self._popen.stdout)

    @property
    def is_alive(self) -> bool:
        """Whether it can be given another file."""
        return self._popen.poll() is None

    def decode(self, kind: str, files: Sequence[bytes], sampling: Sampling) -> VideoClip:
        """See `DecodePool.decode`.

        Raises:
            VideoError: the file is to blame.
            WireError, OSError: the process died; `why` says it for the client.
        """
        limits = self._limits
        why = f"the video takes more than {limits.time_s:g} s to decode: send a smaller one."
        with self._at_most(limits.time_s, why):
            header = request_header([len(data) for data in files], kind, sampling)
            write_message(self._requests, header, *files)
            reply = read_header(self._replies)
            self.ends = bool(reply.get("ends"))
            if "error" in reply:
                raise VideoError(str(reply["error"]))
            return read_clip(self._replies, reply, sampling.count, limits.pixels)

    def kill(self) -> None:
        """End the process, whatever it does."""
        self._popen.kill()
        self._popen.wait()
        for pipe in (self._requests, self._replies):
            with suppress(OSError):
                pipe.close()

    def _at_most(self, seconds: float, why: str) -> _Deadline:
        return _Deadline(self, seconds, why)


class _Deadline:
    """Kills a process when a block of code takes too long: its pipes end, and the block fails."""

    def __init__(self, process: _Process, seconds: float, why: str) -> None:
        self._process = process
        self._why = why
        self._timer = threading.Timer(seconds, self._end)
        self._timer.daemon = True

    def __enter__(self) -> None:
        self._timer.start()

    def __exit__(self, *_: object) -> None:
        self._timer.cancel()

    def _end(self) -> None:
        self._process.why = self._why
        self._process._popen.kill()


def bare_environment() -> dict[str, str]:
    """What such a process is told of this one's environment."""
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    source = str(Path(__file__).parents[3])  # where this package was imported from
    # Otherwise every thread of a decoder reserves address space, which is limited.
    kept["MALLOC_ARENA_MAX"] = "2"
    kept["PYTHONPATH"] = os.pathsep.join(filter(None, [source, kept.get("PYTHONPATH")]))
    return kept
