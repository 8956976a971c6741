"""The paper's own numbers, for all the models in its tables: `published.json`, read from the paper.

Accuracies are shares from 0 to 1 here, so that they stand beside measured ones.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any

_FILE = Path(__file__).with_name("published.json")
# Table 2 leaves the sizes out; Table 1 has them.
_SIZED = {
    "Video-ChatGPT": "Video-ChatGPT-3.8B",
    "Video-LLaMA": "Video-LLaMA-7B",
    "Video-LLaVA": "Video-LLaVA-7B",
    "LLaVA-Mini": "LLaVA-Mini-8B",
    "LLaVA-OneVision": "LLaVA-OneVision-0.5B",
    "Mobile-VideoGPT": "Mobile-VideoGPT-0.5B",
}
OURS = ("Mobile-VideoGPT-0.5B", "Mobile-VideoGPT-1.5B")


@cache
def published() -> dict[str, Any]:
    """The file as it is: table1, table2, table3 and what the paper states of sizes and judge."""
    document: dict[str, Any] = json.loads(_FILE.read_text(encoding="utf-8"))
    return document


def benchmark_columns() -> list[str]:
    """The benchmarks of Table 1, in its order."""
    return list(published()["table1"]["benchmarks"])


def table1(column: str) -> dict[str, float]:
    """Model -> accuracy on one benchmark of Table 1; models without a number are left out."""
    rows = published()["table1"]["rows"]
    return {row["model"]: _share(row[column]) for row in rows if row[column] is not None}


def throughputs() -> dict[str, float]:
    """Model -> tokens per second in Table 1: batch 1 on one RTX A6000."""
    rows = published()["table1"]["rows"]
    key = "throughput_tokens_per_s"
    return {row["model"]: row[key] for row in rows if row[key] is not None}


def mvbench(task: str) -> dict[str, float]:
    """Model -> accuracy in Table 2 on one sub-task, by its harness name; empty for other tasks."""
    for row in published()["table2"]["rows"]:
        if row["lmms_eval_task"] == task:
            return {_SIZED[model]: _share(score) for model, score in row["scores"].items()}
    return {}


def mvbench_groups() -> dict[str, list[str]]:
    """Group of Table 2 -> the harness names of its sub-tasks, in the table's order."""
    groups: dict[str, list[str]] = {}
    for row in published()["table2"]["rows"]:
        groups.setdefault(row["category"], []).append(row["lmms_eval_task"])
    return groups


def mvbench_average() -> dict[str, float]:
    """Model -> the Average row of Table 2."""
    row = published()["table2"]["average_row"]
    return {_SIZED[model]: _share(score) for model, score in row.items()}


def _share(percent: float) -> float:
    return round(percent / 100, 6)
