"""What this machine can do at best, measured: matrix products and memory, without any model.

The speed of light for everything else that `bench` reports. Matrix products are those of the
language model's widest layer during prefill; memory is read the way decoding reads weights.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import torch

from mobile_videogpt.benchmark.products import left_matrix, matrix_product

ROWS, INNER, COLUMNS = 2440, 896, 4864  # (tokens of a prompt, E) x (E, width of the MLP)
MEMORY_BYTES = 512 * 2**20
REPEATS = 5
BUDGET_S = 3.0  # per figure: a format that a processor emulates must not take minutes


def measure_ceiling(device_name: str = "auto") -> dict[str, Any]:
    """GFLOP/s of matrix products by number format, and GB/s of memory.

    Returns:
        `matmul_gflops` {format: best of several}, `memory_gb_s`, `threads`, `device`, `processor`.
    """
    from mobile_videogpt.engines.devices import pick_device

    device = pick_device(device_name)
    return {
        "matmul_gflops": {name: round(x) for name, x in _matmul_gflops(device).items()},
        "memory_gb_s": round(_memory_gb_s(device), 1),
        "threads": torch.get_num_threads(),
        "device": str(device),
        "processor": torch.backends.cpu.get_cpu_capability() if device.type == "cpu" else None,
    }


def _matmul_gflops(device: torch.device) -> dict[str, float]:
    formats = {
        "cpu": ("float32", "bfloat16", "float16", "int8"),
        "cuda": ("float32", "bfloat16", "float16"),
        "mps": ("float32", "float16"),
    }
    found = {}
    for name in formats[device.type]:
        product = matrix_product(left_matrix(ROWS, INNER, name, device), COLUMNS, name)
        found[name] = 2e-9 * ROWS * INNER * COLUMNS / best_seconds(product, device)
    return found


def _memory_gb_s(device: torch.device) -> float:
    """Bytes of weights that a matrix-vector product gets through, as in decoding one token."""
    columns = 4096
    matrix = torch.ones(MEMORY_BYTES // 4 // columns, columns, device=device)
    vector = torch.ones(columns, device=device)
    read = best_seconds(lambda: torch.mv(matrix, vector), device)
    summed = best_seconds(matrix.sum, device)
    return MEMORY_BYTES / min(read, summed) / 1e9


@torch.inference_mode()
def best_seconds(work: Callable[[], Any], device: torch.device) -> float:
    """The shortest of several times, after one that does not count: the least disturbed one."""
    from mobile_videogpt.engines.devices import synchronize

    times = []
    begin = time.perf_counter()
    for _ in range(REPEATS + 1):
        start = time.perf_counter()
        work()
        synchronize(device)
        times.append(time.perf_counter() - start)
        if time.perf_counter() - begin > BUDGET_S:
            break
    return min(times[1:] or times)
