"""How good a model is: six published benchmarks, scored as the field scores them, and our own.

`get_task` finds a benchmark by its name in lmms-eval. The three functions below are the short way
for one question: they take the annotation row in its Hugging Face form. A benchmark's code is
imported when it is asked for.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from .task import Row, get_task

__all__ = ["aggregate", "build_prompt", "get_task", "parse_answer"]


def build_prompt(task: str, item: Row, **settings: Any) -> str:
    """The text that the model is shown below the video.

    Args:
        task: its name, such as "mvbench_action_sequence" or "mlvu_dev".
        item: the annotation row.
        settings: scoring, mlvu_era, seed, prompt_variant (see `Task`).

    >>> row = {"question": "WHO sings", "video_name": "x"}
    >>> build_prompt("activitynetqa", row)
    'Who sings? Answer the question using a single word or phrase.'
    """
    return get_task(task, **settings).prompt(item)


def parse_answer(task: str, item: Row, output: str | None, **settings: Any) -> Any:
    """The prediction in a model's output, as the benchmark's own scoring reads it.

    A letter; PerceptionTest: an index, -1 for none; MVBench: the cleaned text where there is no
    letter; MLVU: "" for none (era paren: the text); ActivityNet-QA: the text. Where the harness
    draws a letter, the draw depends on the seed and the item only. With scoring="strict": a letter,
    or None. Arguments as in `build_prompt`.

    >>> row = {"candidates": ["a hat", "a boat", "a kite"], "answer": "a hat"}
    >>> parse_answer("mvbench_state_change", row, "I'd say C")
    'D'
    >>> parse_answer("mvbench_state_change", row, "I'd say C", scoring="strict")
    'C'
    """
    return get_task(task, **settings).parse(item, output or "")


def aggregate(task: str, scored_items: Iterable[Any], **settings: Any) -> dict[str, Any]:
    """The benchmark's numbers from scored items.

    Args:
        task: its name; "mvbench" for the mean over the sub-tasks.
        scored_items: lines of predictions.jsonl, records as lmms-eval hands them to its own
            aggregation, (row, output) pairs, or bare scores.
        settings: as in `build_prompt`.

    Returns:
        `metric`, `value` and `unit`, the value under the metric's name too, `items`, `by_sub_task`
        and what else the benchmark publishes.
    """
    return get_task(task, **settings).aggregate(scored_items)
