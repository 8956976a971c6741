"""The speeds this project asks of itself, beside what was measured: asked, measured, met."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

LLAVA, SMOL, LLAMA = "llava-onevision-0.5b", "smolvlm2-500m", "llama.cpp"
MERGED = "ours, merge-tokens 0.5"
ONNX, TORCH = "ours, engine onnx", "ours, engine torch"

Measure = Callable[[dict[str, Any]], float | None]


@dataclass(frozen=True)
class Row:
    """One line of the table."""

    what: str
    asked: float
    unit: str
    is_least: bool
    """Whether `asked` is the least that will do, or the most."""
    measure: Measure
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


def _exact(report: dict[str, Any]) -> dict[str, Any]:
    """Our figures if no token was merged, else nothing."""
    return report if report.get("merge_tokens") is None else {}


def _times_faster(peer: str, key: str, ours: Callable[[dict[str, Any]], dict[str, Any]]) -> Measure:
    """How many times better we are than a peer: less time, or more tokens in a second."""

    def measure(report: dict[str, Any]) -> float | None:
        theirs, mine = report.get("peers", {}).get(peer, {}).get(key), ours(report).get(key)
        if not theirs or not mine:
            return None
        return mine / theirs if key.endswith("tok_s") else theirs / mine

    return measure


def _variant(name: str) -> Callable[[dict[str, Any]], dict[str, Any]]:
    return lambda report: report.get("variants", {}).get(name, {})


def _int4_peak(report: dict[str, Any]) -> float | None:
    for ours in (report, _variant(ONNX)(report)):
        if ours.get("formats", {}).get("language_model") == "int4":
            return ours.get("peak_rss_gb")
    return None


def _torch_encoder(report: dict[str, Any]) -> float | None:
    """What the torch engine's video encoder takes, as a multiple of its products."""
    ours = report if report.get("engine") == "TorchEngine" else _variant(TORCH)(report)
    return _nested("video_encoder", "ratio")(ours)


def _nested(*path: str) -> Measure:
    def measure(report: dict[str, Any]) -> float | None:
        value: Any = report
        for key in path:
            value = (value or {}).get(key)
        return value

    return measure


ROWS = (
    Row(
        "first token, beside LLaVA-OneVision-0.5B",
        15,
        "times faster",
        True,
        _times_faster(LLAVA, "ttft_s", _exact),
        f"--peer {LLAVA}",
    ),
    Row(
        "first token, beside SmolVLM2-500M",
        2.6,
        "times faster",
        True,
        _times_faster(SMOL, "ttft_s", _exact),
        f"--peer {SMOL}",
    ),
    Row(
        "the same with merged tokens, LLaVA-OneVision-0.5B",
        20,
        "times faster",
        True,
        _times_faster(LLAVA, "ttft_s", _variant(MERGED)),
        f"--peer {LLAVA} --rows",
    ),
    Row(
        "the same with merged tokens, SmolVLM2-500M",
        3.5,
        "times faster",
        True,
        _times_faster(SMOL, "ttft_s", _variant(MERGED)),
        f"--peer {SMOL} --rows",
    ),
    Row(
        "decode, beside LLaVA-OneVision-0.5B",
        5,
        "times its tokens/s",
        True,
        _times_faster(LLAVA, "decode_tok_s", _exact),
        f"--peer {LLAVA}",
    ),
    Row(
        "decode, beside llama.cpp Q4_0 on the same language model",
        0.85,
        "of its tokens/s",
        True,
        _times_faster(LLAMA, "decode_tok_s", _exact),
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
        "video encoder, engine torch",
        2.2,
        "times its own matrix products",
        False,
        _torch_encoder,
        "--rows",
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
