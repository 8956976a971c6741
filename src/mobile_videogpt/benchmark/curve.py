"""Cost over frames: vision should grow linearly, prefill more slowly than the square."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from mobile_videogpt.benchmark.run import run_benchmark
from mobile_videogpt.benchmark.settings import Settings

logger = logging.getLogger(__name__)


def measure_curve(
    settings: Settings,
    frames: Sequence[int],
    runs: int = 3,
    say: Callable[[str], None] = logger.info,
) -> dict[str, Any]:
    """Measure the same preset with several numbers of frames, one after the other.

    Returns:
        `curve`, one point per number of frames, and `growth`: the exponents p of vision ~ frames^p
        and of prefill ~ tokens^p, by least squares on logarithms. The rest is as `run_benchmark`'s.
    """
    if settings.engine == "auto":
        # How cost grows does not depend on it, and an export of every size would fill the disk.
        settings = replace(settings, engine="torch")
    curve = []
    report: dict[str, Any] = {}
    for number in sorted(set(frames)):
        say(f"{number} frames")
        report = run_benchmark(replace(settings, num_frames=number), runs=runs, say=say)
        curve.append(
            {
                "num_frames": number,
                "prefill_s": report["parts"]["prefill"]["seconds"],
                **{key: report[key] for key in _KEYS},
                "parts": report["parts"],
            }
        )
    shared = {key: report[key] for key in _SHARED}
    return {**shared, "curve": curve, "growth": growth(curve)}


_KEYS = (
    *("visual_tokens", "prompt_tokens", "ttft_s", "vision_s", "decode_tok_s", "followup_ttft_s"),
    *("peak_rss_gb", "spread"),
)
_SHARED = (
    *("model", "random", "engine", "formats", "device", "threads", "merge_tokens", "ceiling"),
    *("runs", "command", "commit", "versions", "machine", "date"),
)


def growth(curve: Sequence[dict[str, Any]]) -> dict[str, float]:
    """The exponents of vision over frames and of prefill over tokens of the prompt."""
    return {
        "vision": exponent([(p["num_frames"], p["vision_s"]) for p in curve]),
        "prefill": exponent([(p["prompt_tokens"], p["prefill_s"]) for p in curve]),
    }


def exponent(points: Sequence[tuple[float, float]]) -> float:
    """p of the power law y ~ x^p that fits best in logarithms.

    >>> exponent([(1, 3), (2, 12), (4, 48)])
    2.0
    """
    xs = [math.log(x) for x, _ in points]
    ys = [math.log(y) for _, y in points]
    mean_x, mean_y = sum(xs) / len(xs), sum(ys) / len(ys)
    rise = sum((x - mean_x) * (y - mean_y) for x, y in zip(xs, ys, strict=True))
    return round(rise / sum((x - mean_x) ** 2 for x in xs), 3)


def draw_curve(report: dict[str, Any]) -> bytes:
    """A PNG: seconds of vision and prefill over frames, beside lines of exact proportion.

    Raises:
        ValueError: matplotlib is not installed.
    """
    try:
        import matplotlib
    except ImportError:
        raise ValueError(
            "a plot needs matplotlib; run: pip install 'mobile-videogpt[eval]'"
        ) from None
    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    curve = report["curve"]
    frames = [point["num_frames"] for point in curve]
    figure = Figure(figsize=(7, 4.2), layout="constrained")
    axes = figure.subplots()
    series = (
        ("vision_s", "vision", "C0"),
        ("prefill_s", "prefill", "C1"),
        ("ttft_s", "first token", "C2"),
    )
    for key, label, color in series:
        seconds = [point[key] for point in curve]
        axes.plot(frames, seconds, "o-", color=color, label=label)
        if key != "ttft_s":
            line = [seconds[0] * number / frames[0] for number in frames]
            axes.plot(frames, line, ":", color=color, label=f"{label}, if it grew linearly")
    axes.set_xscale("log", base=2)
    axes.set_yscale("log", base=2)
    axes.set_xticks(frames, [f"{p['num_frames']}\n{p['visual_tokens']} tokens" for p in curve])
    axes.yaxis.set_major_formatter("{x:g}")
    axes.set_ylabel("seconds")
    axes.set_xlabel("sampled frames")
    axes.set_title(f"{report['model']}, {report['device']}, {report['threads']} threads")
    axes.legend(frameon=False)
    picture = io.BytesIO()
    figure.savefig(picture, format="png", dpi=120)
    return picture.getvalue()
