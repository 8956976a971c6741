"""Time the selective scan against a plain loop over its steps, at VideoMamba-M's shape.

    python benchmarks/selective_scan.py [--threads N] [--repeats N]

Prints one JSON document. Both forms run in turn in one process, with every option of the encoder's
block (skip, gate, bias, softplus); the loop is the definition, `selective_scan_reference`.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable

import torch

from mobile_videogpt.models.selective_scan import selective_scan, selective_scan_reference

CHANNELS, STATE, LENGTH = 1152, 16, 1569


def inputs() -> dict[str, torch.Tensor]:
    """What one direction of one block of VideoMamba-M gives the scan, drawn at random."""
    torch.manual_seed(0)
    return {
        "u": torch.randn(1, CHANNELS, LENGTH),
        "delta": 0.5 * torch.randn(1, CHANNELS, LENGTH) - 4,
        "A": -16 * torch.rand(CHANNELS, STATE),
        "B": torch.randn(1, STATE, LENGTH),
        "C": torch.randn(1, STATE, LENGTH),
        "D": torch.randn(CHANNELS),
        "z": torch.randn(1, CHANNELS, LENGTH),
        "delta_bias": 0.1 * torch.randn(CHANNELS),
    }


def milliseconds(scan: Callable[..., torch.Tensor], given: dict[str, torch.Tensor]) -> float:
    """Wall time of one call."""
    start = time.perf_counter()
    scan(**given, delta_softplus=True)
    return 1000 * (time.perf_counter() - start)


def main() -> None:
    """Run both forms in turn and print the report."""
    parser = argparse.ArgumentParser(description="Time the selective scan against a plain loop.")
    parser.add_argument("--threads", type=int, default=torch.get_num_threads())
    parser.add_argument("--repeats", type=int, default=9)
    args = parser.parse_args()
    torch.set_num_threads(args.threads)
    given = inputs()
    fast, loop = [], []
    with torch.inference_mode():
        want = selective_scan_reference(**given, delta_softplus=True)
        error = (selective_scan(**given, delta_softplus=True) - want).abs().max() / want.abs().max()
        for _ in range(args.repeats):
            fast.append(milliseconds(selective_scan, given))
            loop.append(milliseconds(selective_scan_reference, given))
    ratios = [ours / plain for ours, plain in zip(fast, loop, strict=True)]
    report = {
        "shape": {"batch": 1, "channels": CHANNELS, "state": STATE, "length": LENGTH},
        "threads": args.threads,
        "repeats": args.repeats,
        "fast_ms": round(statistics.median(fast), 1),
        "loop_ms": round(statistics.median(loop), 1),
        "ratio": round(statistics.median(ratios), 3),
        "greatest_relative_error": float(error),
    }
    print(json.dumps(report))


if __name__ == "__main__":
    main()
