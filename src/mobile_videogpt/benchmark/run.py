"""One benchmark: who takes part, the ceiling, the turns, the report."""

from __future__ import annotations

import importlib.util
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

from mobile_videogpt import provenance
from mobile_videogpt.benchmark.clips import SIZES, make_clip_file
from mobile_videogpt.benchmark.contestant import NotOfferedError
from mobile_videogpt.benchmark.costs import Cost
from mobile_videogpt.benchmark.report import describe_parts, describe_peer, medians, ratios
from mobile_videogpt.benchmark.rows import MERGED, ONNX, TORCH, table_rows
from mobile_videogpt.benchmark.settings import Settings
from mobile_videogpt.benchmark.stand_in import cache_folder
from mobile_videogpt.benchmark.startup import measure_startup
from mobile_videogpt.benchmark.turns import Turns, Worker, take_turns

logger = logging.getLogger(__name__)

PACKAGES = (
    *provenance.PACKAGES,
    "onnxruntime",
    "numba",
    "llama-cpp-python",
)
MERGED_KEEP = 0.5


def run_benchmark(
    settings: Settings,
    peers: Sequence[str] = (),
    runs: int = 3,
    with_rows: bool = False,
    say: Callable[[str], None] = logger.info,
) -> dict[str, Any]:
    """Measure our model, and peers in turn with it.

    Args:
        settings: of our model; an empty `clip` means clips made here.
        peers: names of `settings.PEERS`.
        runs: measured runs of each, after a warm-up.
        with_rows: also measure what only the table of aims needs: merged tokens, the other
            engine, a live window, the start of a process.
        say: is told what is going on.

    Returns:
        The report as plain data; docs/performance.md explains its keys.

    Raises:
        WorkerError: a contestant failed.
        NotOfferedError: our own model cannot run with these settings.
    """
    settings = _with_clips(settings, say)
    settings = replace(settings, window=settings.window or with_rows)
    if settings.engine == "auto" and (with_rows or _has_no_export_yet(settings)):
        settings = _choose_engine(settings, say)
    ceiling = _prepare(settings, say, "ceiling")["ceiling"]
    variants = _variants(settings) if with_rows else {}
    impossible = _prepare_variants(settings, variants, say)
    workers = [Worker(name, each) for name, each in {"ours": settings, **variants}.items()]
    workers += [Worker(name, replace(settings, kind=name)) for name in peers]
    turns = take_turns(workers, runs, say)
    if (reason := turns["ours"].not_offered) is not None:
        raise NotOfferedError(reason)
    report = _our_report(settings, turns.pop("ours"), ceiling)
    report["variants"] = impossible | {name: describe_peer(turns[name]) for name in variants}
    report["peers"] = {name: describe_peer(turns[name]) for name in peers}
    report["ratios"] = {name: ratios(report, report["peers"][name]) for name in peers}
    if with_rows:
        say("built-in model: process start to answer")
        report["startup"] = measure_startup()
        report["rows"] = table_rows(report)
    return report | _origin()


def _with_clips(settings: Settings, say: Callable[[str], None]) -> Settings:
    """The clip that is asked about, and those whose decoding is timed."""
    if settings.clip:
        return replace(settings, clips=(settings.clip,))
    say("making clips to measure with")
    clips = {name: str(make_clip_file(name, cache_folder())) for name in SIZES}
    return replace(settings, clip=clips["224p"], clips=tuple(clips.values()))


def _has_no_export_yet(settings: Settings) -> bool:
    """Random weights are new: nobody could have exported them, which is what "auto" goes by."""
    return settings.is_random and settings.dtype == "auto"


def _choose_engine(settings: Settings, say: Callable[[str], None]) -> Settings:
    """The fastest engine that can be had; what stands in the way of ONNX is said."""
    chosen = replace(settings, engine=_fastest_engine(settings.device))
    try:
        _prepare(chosen, say)
    except (ValueError, OSError) as error:
        say(f"engine {chosen.engine}: not measured: {error}")
        return replace(settings, engine="torch")
    return chosen


def _fastest_engine(device: str) -> str:
    """The fastest engine that is installed, whatever happens to be exported already."""
    has_onnx = all(importlib.util.find_spec(name) for name in ("onnx", "onnxruntime"))
    return "onnx" if has_onnx and device in ("auto", "cpu") else "torch"


def _variants(settings: Settings) -> dict[str, Settings]:
    """What our model is also measured as, for the table of aims."""
    plain = replace(settings, extras=(), window=False)
    found = {}
    if settings.merge_tokens is None:
        found[MERGED] = replace(plain, merge_tokens=MERGED_KEEP)
    if settings.engine == "onnx":
        found[TORCH] = replace(plain, engine="torch", dtype="auto", extras=("video_encoder",))
    elif _fastest_engine(settings.device) == "onnx":
        found[ONNX] = replace(plain, engine="onnx", dtype="auto")
    return found


def _prepare(settings: Settings, say: Callable[[str], None], *orders: str) -> dict[str, Any]:
    """Have what loading needs written, by a process that then ends; what `orders` found there."""
    worker = Worker("preparation", settings)
    try:
        if settings.is_random or settings.engine == "onnx":
            say(f"preparing {settings.model} for engine {settings.engine} (kept in the cache)")
            worker.ask("prepare")
        found = {}
        for order in orders:
            say(f"measuring the {order} of this machine")
            found[order] = worker.ask(order)
        return found
    finally:
        worker.leave()


def _prepare_variants(
    settings: Settings, variants: dict[str, Settings], say: Callable[[str], None]
) -> dict[str, Any]:
    """Prepare those with another engine; what cannot be made leaves `variants`, and says why."""
    impossible = {}
    for name, each in list(variants.items()):
        if each.engine == settings.engine:
            continue
        try:
            _prepare(each, say)
        except (ValueError, OSError) as error:
            say(f"{name}: not measured: {error}")
            impossible[name] = {"not_offered": str(error)}
            del variants[name]
    return impossible


def _our_report(settings: Settings, turns: Turns, ceiling: dict[str, Any]) -> dict[str, Any]:
    costs = {name: Cost(*cost) for name, cost in turns.extras.pop("costs").items()}
    facts = turns.facts
    figures = medians(turns.runs)
    share = figures["followup_ttft_s"] / figures["ttft_s"]
    return {
        **facts,
        "model": settings.model,
        "random": settings.is_random,
        "threads": ceiling["threads"],
        "merge_tokens": settings.merge_tokens,
        **figures,
        "followup_share": round(share, 4),
        "peak_rss_gb": turns.peak_rss_gb,
        "ceiling": ceiling,
        "parts": describe_parts(turns.runs, costs, facts["formats"], ceiling),
        **turns.extras,
    }


def _origin() -> dict[str, Any]:
    """What the figures were made with."""
    return {
        "command": provenance.command_line(),
        "commit": provenance.package_commit(),
        "versions": provenance.versions(PACKAGES),
        "machine": provenance.machine(),
        "date": datetime.now(UTC).date().isoformat(),
    }
