"""The selective scan's recurrence as one compiled loop, where the package `numba` is installed.

PyTorch needs five passes over all states (channels x state x length); here a state lives in a
register or the L1 cache from its decay to its part of the output. numba brings its own compiler in
its wheel; the compiled loop is kept on disk. Only the bare forward recurrence is here.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from importlib.util import find_spec
from itertools import pairwise
from typing import Any

import torch
from torch import Tensor

CHANNELS_AT_ONCE = 192  # their states and decay rates fit the L1 cache
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
        return _compiled() is not None
    except Exception:  # whatever keeps numba from compiling here, PyTorch's form remains
        return False


def run_kernel(u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, y: Tensor) -> Tensor:
    """Fill y, which may be `delta`.

    Args:
        u, delta, y: (length, batch, channels), contiguous; delta are finished step sizes.
        A: (state, channels).
        B, C: (length, batch, state).
    """
    loop = _compiled()
    arrays = [x.detach().numpy() for x in (u, delta, A, B, C, y)]
    channels = A.shape[1]
    firsts = range(0, channels, CHANNELS_AT_ONCE)
    ranges = [(first, min(first + CHANNELS_AT_ONCE, channels)) for first in firsts]
    workers = max(1, min(torch.get_num_threads(), len(ranges)))
    bounds = [i * len(ranges) // workers for i in range(workers + 1)]
    shares = [ranges[a:b] for a, b in pairwise(bounds)]
    jobs = [(*arrays, share[0][0], share[-1][1], CHANNELS_AT_ONCE) for share in shares]
    if len(jobs) == 1:
        loop(*jobs[0])
    else:
        list(_pool(workers, os.getpid()).map(lambda job: loop(*job), jobs))
    return y


@cache
def _pool(workers: int, process: int) -> ThreadPoolExecutor:
    """Threads of this process: one that was forked has none of its parent's."""
    return ThreadPoolExecutor(workers, thread_name_prefix="selective-scan")


@cache
def _compiled() -> Callable[..., Any]:
    """The loop over some channels, which lets other threads run meanwhile."""
    import numba
    import numpy as np

    f32 = np.float32
    log2e, ln2_high, ln2_low = f32(1.44269504), f32(0.693359375), f32(-2.12194440e-4)
    p0, p1, p2 = f32(1.9875691500e-4), f32(1.3981999507e-3), f32(8.3334519073e-3)
    p3, p4, p5 = f32(4.1665795894e-2), f32(1.6666665459e-1), f32(5.0000001201e-1)
    one, lowest, highest, magic = f32(1.0), f32(-87.0), f32(88.0), f32(12582912.0)

    @numba.njit(
        "void(f4[:,:,::1],f4[:,:,::1],f4[:,::1],f4[:,:,::1],f4[:,:,::1],f4[:,:,::1],i8,i8,i8)",
        nogil=True,
        cache=True,
        fastmath={"contract", "nsz", "nnan", "ninf"},
        error_model="numpy",
        boundscheck=False,
    )
    def loop(u, delta, A, B, C, y, start, end, width):  # type: ignore[no-untyped-def]
        length, batch, _ = u.shape
        states = A.shape[0]
        h = np.zeros((states, width), dtype=np.float32)
        rates = np.zeros((states, width), dtype=np.float32)
        size = np.zeros(width, dtype=np.float32)
        given = np.zeros(width, dtype=np.float32)
        out = np.zeros(width, dtype=np.float32)
        for first in range(start, end, width):
            count = min(width, end - first)
            for n in range(states):
                for c in range(count):
                    rates[n, c] = A[n, first + c]
            for row in range(batch):
                h[:] = 0
                for t in range(length):
                    for c in range(count):
                        size[c] = delta[t, row, first + c]
                        given[c] = size[c] * u[t, row, first + c]
                        out[c] = 0
                    for n in range(states):
                        into, back = B[t, row, n], C[t, row, n]
                        for c in range(width):
                            # exp, Cephes' way: 2^k times a polynomial of what remains.
                            x = min(max(size[c] * rates[n, c], lowest), highest)
                            # Adding so large a number rounds: k is in the sum's lowest bits.
                            shifted = x * log2e + magic
                            k = shifted - magic
                            x = (x - k * ln2_high) - k * ln2_low
                            p = p0
                            p = p * x + p1
                            p = p * x + p2
                            p = p * x + p3
                            p = p * x + p4
                            p = p * x + p5
                            p = p * (x * x) + x + one
                            exponent = np.int32(np.float32(shifted).view(np.int32) << np.int32(23))
                            p = np.int32(np.float32(p).view(np.int32) + exponent).view(np.float32)
                            state = p * h[n, c] + given[c] * into
                            h[n, c] = state
                            out[c] += state * back
                    for c in range(count):
                        y[t, row, first + c] = out[c]

    return loop
