"""The steps of a fine-tuning run, each of which is skipped when an earlier start finished it."""

from __future__ import annotations

import json
import logging
import os
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from ...checkpoints import load_model
from ...models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from ...processor import MobileVideoGPTProcessor
from ..data.annotations import read_annotations
from ..data.mixture import load_mixture
from ..data.records import Record
from ..files import write_json, write_text
from ..media.base_model import base_checkpoint
from ..media.encode import EncodeOptions, Progress, encode_media, unique_media
from ..media.features import FeatureReader, FeatureStore
from ..media.quantize import require_qlora
from ..media.recipe import MediaRecipe
from ..media.stage_results import ADAPTER
from ..processes import process_state
from ..runner import run_media
from .card import Example, example_texts, model_card
from .options import FinetuneOptions, remember
from .plan import STAGE, build_recipe, choose_sizes
from .prepare import Prepared, prepare
from .push import push_model, require_login
from .score import answer_records, score_records

logger = logging.getLogger(__name__)
EXAMPLES = 8
_RESULT = "result.json"


@dataclass(frozen=True)
class FinetuneResult:
    """Where a run's results are.

    Attributes:
        model: the merged model's folder, with its card.
        adapter: LoRA and projectors alone.
        scores: "before" and "after", of "new" and, with replay, "old" held back records.
        training: steps, seconds and what else the card says.
    """

    model: Path
    adapter: Path
    scores: dict[str, Any]
    training: dict[str, Any]


def finetune(options: FinetuneOptions, on_progress: Progress | None = None) -> FinetuneResult:
    """Fine-tune a model; started again with the same options, it goes on where it was.

    Args:
        options: what on what.
        on_progress: called while videos are encoded, with those done and to do.

    Raises:
        ValueError: for data, options or a machine that do not allow it, before anything is trained.
    """
    if process_state().num_processes > 1:
        raise ValueError("finetune runs in one process; on several devices use a recipe of `train`")
    if options.qlora:
        require_qlora()
    if options.push_to_hub:
        require_login(options.push_to_hub)
    remember(options)
    begun = time.monotonic()
    start = MediaRecipe(options.output, options.output, options.model, (), options.seed)
    base = base_checkpoint(start)
    device = torch.device("cuda" if torch.cuda.is_available() else "cpu")
    model, processor = load_model(base, device=device)
    data = prepare(options, processor)
    logger.info("samples: %s", ", ".join(f"{n} {name}" for name, n in data.counts.items() if n))
    sizes = choose_sizes(options, model.config, data.text_tokens)
    recipe = build_recipe(options, model.config, data, sizes)
    reader = _encode(options, data, model, processor, on_progress)
    scores = {"before": _scores(options, data, model, processor, reader, "before")}
    del model
    run_media(recipe)
    model, processor = load_model(options.output / "model", device=device)
    scores["after"] = _scores(options, data, model, processor, reader, "after")
    adapter = _copy_adapter(options)
    training = _training(recipe, time.monotonic() - begun)
    examples = _examples(options)
    card = model_card(options, data, sizes, scores, examples, training)
    for folder in (options.output / "model", adapter):
        write_text(folder / "README.md", card)
    write_json(options.output / _RESULT, {"scores": scores, "training": training}, indent=1)
    if options.push_to_hub:
        push_model(options.output / "model", options.push_to_hub)
    return FinetuneResult(options.output / "model", adapter, scores, training)


def _encode(
    options: FinetuneOptions,
    data: Prepared,
    model: MobileVideoGPTForConditionalGeneration,
    processor: MobileVideoGPTProcessor,
    on_progress: Progress | None,
) -> FeatureReader:
    """Features of everything that training or scoring shows."""
    folder = options.output / "features"
    media = [m for path in (data.train, data.validation) for m in unique_media(load_mixture(path))]
    # Beside a GPU the other cores decode; on a CPU the encoders take them all.
    spare = (os.cpu_count() or 1) - 1 if torch.cuda.is_available() else 0
    workers = options.workers if options.workers and torch.cuda.is_available() else spare
    wanted = EncodeOptions(workers=workers)
    summary = encode_media(media, model, processor, folder, wanted, on_progress)
    logger.info("encoded %d of %d videos and pictures", summary.encoded, summary.media)
    return FeatureReader(FeatureStore(folder))


def _scores(
    options: FinetuneOptions,
    data: Prepared,
    model: MobileVideoGPTForConditionalGeneration,
    processor: MobileVideoGPTProcessor,
    reader: FeatureReader,
    when: str,
) -> dict[str, Any]:
    """Scores of a model, kept in a file with its answers to the examples."""
    path = options.output / f"scores-{when}.json"
    if path.is_file():
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))["scores"]
        return found
    parts = {"new": data.own, "old": data.kept}
    scores = {
        name: score_records(model, processor, annotations, reader).as_json()
        for name, annotations in parts.items()
        if annotations
    }
    answers = answer_records(model, processor, _example_records(options), reader)
    write_json(path, {"scores": scores, "answers": answers}, indent=1)
    for name, score in scores.items():
        logger.info("%s, %s data: %.1f %% right", when, name, 100 * score["answers_right"])
    return scores


def _example_records(options: FinetuneOptions) -> list[Record]:
    """Records from all over the held back ones."""
    records = read_annotations(options.output / "data" / "validation.jsonl")
    step = max(len(records) // EXAMPLES, 1)
    return records[::step][:EXAMPLES]


def _examples(options: FinetuneOptions) -> list[Example]:
    said = [
        json.loads((options.output / f"scores-{when}.json").read_text(encoding="utf-8"))["answers"]
        for when in ("before", "after")
    ]
    return [
        Example(*example_texts(record), before, after)
        for record, before, after in zip(_example_records(options), *said, strict=True)
    ]


def _copy_adapter(options: FinetuneOptions) -> Path:
    """The adapter where users look for it, beside the model."""
    folder = options.output / ADAPTER
    partial = folder.with_name(f"{ADAPTER}.partial")
    shutil.rmtree(partial, ignore_errors=True)
    shutil.copytree(options.output / STAGE / ADAPTER, partial)
    shutil.rmtree(folder, ignore_errors=True)
    partial.rename(folder)
    return folder


def _training(recipe: MediaRecipe, seconds: float) -> dict[str, Any]:
    """What the run's log says; `seconds` are of this start, encoding and scoring included."""
    (stage,) = recipe.stages
    history = json.loads((recipe.output / STAGE / "history.json").read_text(encoding="utf-8"))
    losses = {row["step"]: row["eval_loss"] for row in history if "eval_loss" in row}
    return {
        "steps": max(row["step"] for row in history),
        "best_step": min(losses, key=lambda step: losses[step]) if losses else stage.steps,
        "samples_per_step": stage.global_batch_size,
        "learning_rate": stage.learning_rate,
        "seconds": round(seconds, 1),
    }
