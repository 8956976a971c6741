"""From single runs to the report: medians, spread, each part's share of the least possible time."""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from typing import Any

from mobile_videogpt.benchmark.costs import BYTES_PER_WEIGHT, Cost, least_seconds
from mobile_videogpt.benchmark.turns import Turns

COUNTS = ("visual_tokens", "prompt_tokens", "generated_tokens", "prefill_tokens")
_FORMAT_OF = {
    "selection": "image_encoder",
    "prefill": "language_model",
    "decode_token": "language_model",
}


def medians(runs: Sequence[dict[str, float]]) -> dict[str, Any]:
    """The median of every figure, and `spread`: the least and the greatest."""
    found: dict[str, Any] = {}
    spread = {}
    for key in runs[0]:
        if key.startswith("part:"):
            continue
        values = [run[key] for run in runs]
        if key in COUNTS:
            found[key] = round(statistics.median(values))
            continue
        found[key] = _rounded(statistics.median(values))
        spread[key] = [_rounded(min(values)), _rounded(max(values))]
    return {**found, "spread": spread, "runs": len(runs)}


def describe_parts(
    runs: Sequence[dict[str, float]],
    costs: dict[str, Cost],
    formats: dict[str, str],
    ceiling: dict[str, Any],
) -> dict[str, dict[str, Any]]:
    """Each part's seconds with their spread, share of the first token's time, and of the ceiling.

    `decode_token` is one decoding step; it is no part of the time to the first token.
    """
    ttft_s = statistics.median(run["ttft_s"] for run in runs)
    parts: dict[str, dict[str, Any]] = {}
    for key in runs[0]:
        if not key.startswith("part:"):
            continue
        name = key.removeprefix("part:")
        values = [run[key] for run in runs]
        if name == "decode_tokens":
            name = "decode_token"
            values = [1 / run["decode_tok_s"] for run in runs if run["decode_tok_s"]]
            if not values:
                continue
        seconds = statistics.median(values)
        row: dict[str, Any] = {
            "seconds": _rounded(seconds),
            "min": _rounded(min(values)),
            "max": _rounded(max(values)),
        }
        if name != "decode_token":
            row["share_of_ttft"] = round(seconds / ttft_s, 4)
        if name in costs:
            row |= _against_ceiling(seconds, costs[name], _format(name, formats), ceiling)
        parts[name] = row
    return parts


def _format(part: str, formats: dict[str, str]) -> str:
    return formats.get(part) or formats.get(_FORMAT_OF.get(part, part), "float32")


def _against_ceiling(
    seconds: float, cost: Cost, number_format: str, ceiling: dict[str, Any]
) -> dict[str, Any]:
    least = least_seconds(cost, number_format, ceiling)
    return {
        "format": number_format,
        "gflop": _rounded(cost.flops / 1e9),
        "mbyte": _rounded(
            (cost.weights * BYTES_PER_WEIGHT[number_format] + cost.state_bytes) / 1e6
        ),
        "least_s": None if least is None else _rounded(least),
        "of_ceiling": None if least is None or not seconds else round(least / seconds, 3),
    }


def describe_peer(turns: Turns) -> dict[str, Any]:
    """A peer's facts and figures, or why there are none."""
    if turns.not_offered is not None:
        return {"not_offered": turns.not_offered}
    return {
        **turns.facts,
        **medians(turns.runs),
        "peak_rss_gb": turns.peak_rss_gb,
        **turns.extras,
    }


def ratios(ours: dict[str, Any], peer: dict[str, Any]) -> dict[str, float]:
    """How many times better we are; above 1 is faster or smaller."""
    found = {}
    for name, key, more_is_better in (
        ("ttft", "ttft_s", False),
        ("vision", "vision_s", False),
        ("decode", "decode_tok_s", True),
        ("end_to_end", "end_to_end_s", False),
        ("prefill", "prefill_s", False),
        ("peak_rss", "peak_rss_gb", False),
    ):
        mine, theirs = ours.get(key), peer.get(key)
        if key == "prefill_s":
            mine = ours.get("parts", {}).get("prefill", {}).get("seconds")
        if mine and theirs:
            found[name] = round(mine / theirs if more_is_better else theirs / mine, 3)
    return found


def _rounded(value: float) -> float:
    """Four significant digits: more than any of these figures deserves."""
    return float(f"{value:.4g}")
