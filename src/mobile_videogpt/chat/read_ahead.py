"""Work on one thing while the next is being prepared in another thread."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

T = TypeVar("T")
R = TypeVar("R")


def read_ahead(
    prepare: Callable[[T], R], items: Iterable[T], ahead: int
) -> Iterator[tuple[T, Future[R]]]:
    """Yield every item with its future, while `ahead` further ones are prepared, one at a time.

    An item that cannot be prepared raises when its result is asked for; the others still come.

    Args:
        prepare: called in one other thread.
        items: read only as far as they are prepared.
        ahead: how many may wait, each of which takes memory; 0: one thing at a time.
    """
    waiting: deque[tuple[T, Future[R]]] = deque()
    pool = ThreadPoolExecutor(1, thread_name_prefix="read-ahead")
    try:
        for item in items:
            waiting.append((item, pool.submit(prepare, item)))
            if len(waiting) > ahead:
                yield waiting.popleft()
        while waiting:
            yield waiting.popleft()
    finally:
        # Whoever stops early does not wait for what was not begun.
        pool.shutdown(wait=False, cancel_futures=True)
