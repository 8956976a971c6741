"""The speeds this project asks of itself, beside what was measured: asked, measured, met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LLAVA, SMOL, LLAMA = "llava-onevision-0.5b", "smolvlm2-500m", "llama.cpp"
MERGED = "ours, merge-tokens 0.5"


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    asked: float
    unit: str
    is_least: bool
    """Whether `asked` is the least that will do, or the most."""
    measure: Callable[[dict[str, Any]], float | None]
    needs: str
    """What to add to the command when it was not measured."""


def table_rows(report: dict[str, Any]) -> list[dict[str, Any]]:
    """Every row with what `report` says: `measured` and `met` are None where it says nothing."""
    found = []
    for row in ROWS:
        measured = row.measure(report)
        met = None
        if measured is not None:
            met = measured >= row.asked if row.is_least else measured <= row.asked
        found.append(
            {
                "what": row.what,
                "asked": f"{'at least' if row.is_least else 'at most'} {row.asked:g} {row.unit}",
                "measured": None if measured is None else float(f"{measured:.3g}"),
                "unit": row.unit,
                "met": met,
                **({} if measured is not None else {"needs": row.needs}),
            }
        )
    return found


def _ratio(peer: str, name: str) -> Callable[[dict[str, Any]], float | None]:
    return lambda report: report.get("ratios", {}).get(peer, {}).get(name)


def _merged_ratio(peer: str) -> Callable[[dict[str, Any]], float | None]:
    def measure(report: dict[str, Any]) -> float | None:
        theirs = report.get("peers", {}).get(peer, {}).get("ttft_s")
        mine = report.get("variants", {}).get(MERGED, {}).get("ttft_s")
        return theirs / mine if theirs and mine else None

    return measure


def _int4_peak(report: dict[str, Any]) -> float | None:
    is_int4 = report.get("formats", {}).get("language_model") == "int4"
    return report.get("peak_rss_gb") if is_int4 else None


def _exact_prompt(report: dict[str, Any]) -> bool:
    return report.get("merge_tokens") is None


def _nested(*path: str) -> Callable[[dict[str, Any]], float | None]:
    def measure(report: dict[str, Any]) -> float | None:
        value: Any = report
        for key in path:
            value = (value or {}).get(key)
        return value

    return measure


def _exact(measure: Callable[[dict[str, Any]], float | None]) -> Callable[..., float | None]:
    return lambda report: measure(report) if _exact_prompt(report) else None


ROWS = (
    Row(
        "first token, beside LLaVA-OneVision-0.5B",
        15,
        "times faster",
        True,
        _exact(_ratio(LLAVA, "ttft")),
        f"--peer {LLAVA}",
    ),
    Row(
        "first token, beside SmolVLM2-500M",
        2.6,
        "times faster",
        True,
        _exact(_ratio(SMOL, "ttft")),
        f"--peer {SMOL}",
    ),
    Row(
        "the same with merged tokens, LLaVA-OneVision-0.5B",
        20,
        "times faster",
        True,
        _merged_ratio(LLAVA),
        f"--peer {LLAVA} --rows",
    ),
    Row(
        "the same with merged tokens, SmolVLM2-500M",
        3.5,
        "times faster",
        True,
        _merged_ratio(SMOL),
        f"--peer {SMOL} --rows",
    ),
    Row(
        "decode, beside LLaVA-OneVision-0.5B",
        5,
        "times its tokens/s",
        True,
        _ratio(LLAVA, "decode"),
        f"--peer {LLAVA}",
    ),
    Row(
        "decode, beside llama.cpp Q4_0 on the same language model",
        0.85,
        "of its tokens/s",
        True,
        _ratio(LLAMA, "decode"),
        f"--peer {LLAMA}",
    ),
    Row(
        "first token of a follow-up question",
        0.03,
        "of the first question's time",
        False,
        _nested("followup_share"),
        "a model that answers",
    ),
    Row(
        "vision of a live window that shares half its frames",
        0.6,
        "of a fresh window's",
        False,
        _nested("window", "share"),
        "--window",
    ),
    Row("peak memory with an int4 language model", 1.5, "GB", False, _int4_peak, "--engine onnx"),
    Row(
        "video encoder",
        2.2,
        "times its own matrix products",
        False,
        _nested("video_encoder", "ratio"),
        "a model that answers",
    ),
    Row(
        "built-in model, process start to answer printed",
        4,
        "s",
        False,
        _nested("startup", "seconds"),
        "--rows",
    ),
)
