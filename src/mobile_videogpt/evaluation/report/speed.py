"""What the answers took: latency and tokens per second, from the lines of a run."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import fmean, median, quantiles
from typing import Any

from ..predictions import Prediction


def describe_speed(results: Sequence[Prediction]) -> dict[str, Any] | None:
    """Seconds and tokens per second of the questions that were answered; None for none.

    A question's seconds go from its video to its last token, `ttft_s` to its first one. A video is
    opened for the first question about it: those are the seconds that somebody with one question
    waits, so latency is theirs; the others count as follow-ups.
    """
    answered = [r for r in results if r.error is None]
    seconds = [r.seconds for r in answered]
    if not sum(seconds):
        return None
    # The first token comes out of the prefill, the end token is decoded but not counted: as many
    # steps as tokens.
    decoded = [(r.tokens, r.decode_s) for r in answered if r.tokens and r.decode_s]
    decode_s = sum(spent for _, spent in decoded)
    written = [r.tokens for r in answered if r.answer_by == "generation"]
    return {
        "questions": len(answered),
        "videos": len({r.video for r in answered}),
        "first_question_s": _spread([r.seconds for r in answered if r.is_first]),
        "follow_up_s": _spread([r.seconds for r in answered if not r.is_first]),
        "first_token_s": _spread([r.ttft_s for r in answered if r.is_first and r.ttft_s]),
        "tokens_mean": _rounded(fmean(written)) if written else None,
        "decode_tok_s": _rounded(sum(n for n, _ in decoded) / decode_s) if decode_s else None,
        "questions_per_minute": _rounded(60 * len(answered) / sum(seconds)),
    }


def _spread(values: Sequence[float]) -> dict[str, float] | None:
    """Median and 90th percentile; None for no values."""
    if not values:
        return None
    p90 = quantiles(values, n=10, method="inclusive")[-1] if len(values) > 1 else values[0]
    return {"median": _rounded(median(values)), "p90": _rounded(p90)}


def _rounded(value: float) -> float:
    """Four significant digits: more than a time deserves."""
    return float(f"{value:.4g}")
