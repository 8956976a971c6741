"""The MovingShapes test set as tasks of lmms-eval, for whatever model it runs.

`write_tasks` puts two YAML files beside a written set (`synthetic.test_set`): one that has answers
written, one that ranks the options by their likelihood. They call the functions below, which ask
and score as this package's own task does; so this package is installed beside lmms-eval, and with
the built-in model both harnesses give the same number.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from ...files import write_atomically
from ...synthetic.test_set import QUESTIONS_FILE, VERSION
from ..remote_model import INSTRUCTION
from ..task import get_task
from . import MODEL_ID

TASK = "moving-shapes-test"
FOLDER = "lmms_eval"  # below the set's own: what --include_path names
WRITTEN, RANKED = "moving_shapes_test", "moving_shapes_test_likelihood"

_YAML = """\
# Version {version} of the set; written by `mobile-videogpt data moving-shapes --test-set`
task: {task}
dataset_path: json
dataset_kwargs:
  data_files:
    test: {questions}
test_split: test
output_type: {output_type}
doc_to_visual: !function {here}.doc_to_visual
doc_to_text: !function {here}.doc_to_text
doc_to_choice: !function {here}.doc_to_choice
doc_to_target: !function {here}.doc_to_target
process_results: !function {here}.{process}
{generation}metric_list:
  - metric: accuracy
    aggregation: !function {here}.aggregate
    higher_is_better: true
lmms_eval_specific_kwargs:
  # The built-in model answers in words, and no instruction is among those that it knows.
  {model}: {{folder: {folder}, post_prompt: ""}}
  default: {{folder: {folder}, post_prompt: {instruction}}}
metadata:
  version: {version}
"""
_GENERATION = """\
generation_kwargs:
  max_new_tokens: 16
  temperature: 0
  do_sample: false
"""


def write_tasks(folder: Path) -> Path:
    """Write the YAML files for the set in `folder`; returns what `--include_path` takes.

    They hold the folder's full path: write them again when it has moved.
    """
    out = folder / FOLDER
    out.mkdir(parents=True, exist_ok=True)
    for task, output_type, process, generation in (
        (WRITTEN, "generate_until", "process_written", _GENERATION),
        (RANKED, "multiple_choice", "process_ranked", ""),
    ):
        text = _YAML.format(
            task=task,
            output_type=output_type,
            process=process,
            generation=generation,
            here=__name__,
            model=MODEL_ID,
            version=VERSION,
            folder=_quoted(str(folder.resolve())),
            questions=_quoted(str(folder.resolve() / QUESTIONS_FILE)),
            instruction=_quoted(INSTRUCTION),
        )
        write_atomically(out / f"{task}.yaml", text.encode())
    return out


def doc_to_visual(doc: Mapping[str, Any], settings: Mapping[str, Any]) -> list[str]:
    """The path of the clip."""
    return [str(Path(settings["folder"], doc["video"]))]


def doc_to_text(doc: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    """The prompt, and the instruction for models that need one."""
    lines = [get_task(TASK).prompt(dict(doc)), settings["post_prompt"]]
    return "\n".join(line for line in lines if line)


def doc_to_choice(doc: Mapping[str, Any]) -> list[str]:
    """The options: their own words are ranked."""
    return list(doc["options"])


def doc_to_target(doc: Mapping[str, Any]) -> int:
    """The place of the right option."""
    return ord(doc["answer"]) - ord("A")


def process_written(doc: Mapping[str, Any], results: Sequence[str]) -> dict[str, Any]:
    """Read and score a written answer."""
    task = get_task(TASK)
    return _record(doc, task.parse(dict(doc), results[0]))


def process_ranked(doc: Mapping[str, Any], results: Sequence[tuple[float, bool]]) -> dict[str, Any]:
    """The option with the smallest loss; of equals the first."""
    losses = [loss for loss, _ in results]
    return _record(doc, chr(ord("A") + losses.index(min(losses))))


def aggregate(results: Sequence[Mapping[str, Any]]) -> float:
    """The mean over the families, in percent."""
    value: float = get_task(TASK).aggregate(results)["value"]
    return value


def _record(doc: Mapping[str, Any], letter: str | None) -> dict[str, Any]:
    score = get_task(TASK).score(dict(doc), letter)
    return {
        "accuracy": {
            "id": doc["id"],
            "sub_task": doc["family"],
            "prediction": letter,
            "score": score,
        }
    }


def _quoted(text: str) -> str:
    """A YAML string in single quotes, in which only the quote itself needs care."""
    return "'" + text.replace("'", "''") + "'"
