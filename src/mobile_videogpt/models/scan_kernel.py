"""The selective scan's recurrence as one compiled loop, where the package `numba` is installed.

PyTorch needs five passes over all states (channels x state x length); here a state lives in a
register from its first row to its last (`scan_loops.py`). numba brings its own compiler in its
wheel; what it compiled is kept on disk. Only the bare forward recurrence is here.
"""

from __future__ import annotations

import math
import os
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib import import_module
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

LANES = 16  # channels that the loop takes in step
WORTHWHILE_STATES = 1 << 22  # below, compiling or even loading the loop costs more than it saves


def kernel_applies(u: Tensor, A: Tensor) -> bool:
    """Whether the loop may and should run u (length, batch, channels) with A (state, channels)."""
    return (
        u.device.type == "cpu"
        and u.dtype == torch.float32
        and u.numel() * A.shape[0] >= WORTHWHILE_STATES
        and has_numba()
    )


@cache
def has_numba() -> bool:
    """Whether numba can be imported and compiles."""
    if find_spec("numba") is None:
        return False
    try:
        one, states = torch.ones(1, 1, 1), torch.ones(1, 1, 16)
        y = run_kernel(one, one, torch.zeros(16, 1), states, states, torch.empty(1, 1, 1))
        return y.item() == 16
    except Exception:  # whatever keeps numba from compiling here, PyTorch's form remains
        return False


def run_kernel(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, y: Tensor) -> Tensor:
    """Fill y, which may be `delta`.

    Args:
        u, delta, y: (length, batch, channels), contiguous; delta are finished step sizes.
        A: (state, channels).
        B, C: (length, batch, state).
    """
    loop = _loops().scan_channels
    rates = decay_rates(A.t()).numpy()
    arrays = [x.detach().numpy() for x in (u, delta)]
    arrays += [rates, *(x.detach().numpy() for x in (B, C, y))]
    vectors, numbers = len(rates), (0,) * len(A)
    workers = max(1, min(torch.get_num_threads(), vectors))
    bounds = [i * vectors // workers for i in range(workers + 1)]
    jobs = [(*arrays, first, last, numbers) for first, last in pairwise(bounds)]
    if len(jobs) == 1:
        loop(*jobs[0])
    else:
        list(_pool(workers, os.getpid()).map(lambda job: loop(*job), jobs))
    return y


def decay_rates(A: Tensor) -> Tensor:
    """Decay rates as the loop takes them: A (..., channels, state) times log2(e), in vectors.

    Returns:
        (..., vectors, state, 16); channels that fill the last vector have rate 0.
    """
    A = F.pad(A.detach().float() * math.log2(math.e), (0, 0, 0, -A.shape[-2] % LANES))
    return A.unflatten(-2, (-1, LANES)).mT.contiguous()


@cache
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process: one that was forked has none of its parent's."""
    return ThreadPoolExecutor(workers, thread_name_prefix="selective-scan")


@cache
def _loops() -> Any:
    """The module of compiled loops, which imports numba."""
    return import_module("mobile_videogpt.models.scan_loops")
