"""Threads that work through one job together, each with PyTorch to itself.

PyTorch shares every single operator out among its own threads, which then keep the cores busy
waiting for the next one, while a compiled loop between two operators needs them. Here each thread
runs operators on its own share of the rows, and they meet only where one needs another's result.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from threading import Barrier, BrokenBarrierError, Lock

import torch

Job = Callable[["Member"], None]
# Members of two teams, each with a part of the threads, would wait for each other forever.
_one_team = Lock()


class Member:
    """One thread of a team at work.

    Args:
        rank: its number.
        size: how many there are.
        barrier: of the team.
    """

    def __init__(self, rank: int, size: int, barrier: Barrier) -> None:
        self.rank, self.size = rank, size
        self._barrier = barrier

    def share(self, count: int) -> range:
        """This member's part of `range(count)`."""
        return range(count * self.rank // self.size, count * (self.rank + 1) // self.size)

    def meet(self) -> None:
        """Wait until all members are here."""
        self._barrier.wait()


def run_together(job: Job) -> None:
    """Run a job in as many threads as PyTorch uses, without gradients; raise what one raises."""
    size = torch.get_num_threads()
    barrier = Barrier(size)
    if size == 1:
        with torch.inference_mode():
            return job(Member(0, 1, barrier))

    def work(rank: int) -> None:
        try:
            with torch.inference_mode():
                job(Member(rank, size, barrier))
        except BrokenBarrierError:
            pass  # another member has failed, and tells why
        except BaseException:
            barrier.abort()
            raise

    with _one_team:
        pool = _pool(size, os.getpid())
        for result in [pool.submit(work, rank) for rank in range(size)]:
            result.result()
    return None


@cache
def _pool(size: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process: one that was forked has none of its parent's."""
    pool = ThreadPoolExecutor(size, "mobile-videogpt", _take_one_thread)
    ready = Barrier(size)
    list(pool.map(lambda _: ready.wait(), range(size)))  # all of them start now, none later
    torch.set_num_threads(size)  # what they set for themselves is also the default of new threads
    return pool


def _take_one_thread() -> None:
    torch.get_num_threads()  # reads the default, which would overwrite a later setting
    torch.set_num_threads(1)
