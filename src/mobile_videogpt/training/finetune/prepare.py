"""The user's data, checked, split and written down as what the runner trains from."""

from __future__ import annotations

import logging
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import yaml
from transformers import PreTrainedTokenizerBase

from ...processor import MobileVideoGPTProcessor
from ..data.check import CheckOptions, CheckResult, check_data
from ..data.check_report import build_report, write_report
from ..data.cleaned import write_cleaned
from ..data.convert import write_annotations
from ..data.mixture import apply_prompt, load_mixture
from ..data.probe import Probe
from ..data.records import DataError, Record
from ..data.text_checks import TokenBudget, text_tokens
from ..files import write_text
from .options import FinetuneOptions
from .split import split_records

logger = logging.getLogger(__name__)
MOST_DECODED = 2000  # files that the check looks into; encoding meets the rest
REPLAY_FACTOR = 20  # of the training records: more of the old data is not encoded


@dataclass(frozen=True)
class Prepared:
    """Files of a run, and what they hold.

    Attributes:
        train, validation: mixtures: new data and, if there is any, replayed data.
        own: annotations of the held back new data alone; what the scores are about.
        kept: annotations of held back replayed data, None without replay.
        counts: records of each part.
        text_tokens: of the longest record.
        left_out: entries that the check threw out.
    """

    train: Path
    validation: Path
    own: Path
    kept: Path | None
    counts: dict[str, int]
    text_tokens: int
    left_out: int


def prepare(options: FinetuneOptions, processor: MobileVideoGPTProcessor) -> Prepared:
    """Check the data, split it by video, write `OUTPUT/data`.

    Raises:
        DataError: when nothing usable is left; the report is in `OUTPUT/check`.
    """
    folder = options.output / "data"
    checked = _checked(options, options.data, "check", processor)
    records = _usable(checked)
    if options.validation is None:
        train, unseen = split_records(
            records, options.validation_share, options.seed, lambda path: _content(checked, path)
        )
    else:
        train = records
        unseen = _usable(_checked(options, options.validation, "check-validation", processor))
    check_vocabulary([*train, *unseen], processor.tokenizer)
    old_train, old_unseen = _replayed(options, len(train), len(unseen))
    parts = {
        "train": train,
        "validation": unseen,
        "replay": old_train,
        "replay_validation": old_unseen,
    }
    for name, part in parts.items():
        if part:
            write_annotations(part, folder / f"{name}.jsonl", "messages")
    per_epoch = round(len(train) * options.replay_share / (1 - options.replay_share))
    seed = options.seed
    return Prepared(
        train=_mixture(folder, "train", "replay" if old_train else "", per_epoch, seed),
        validation=_mixture(
            folder, "validation", "replay_validation" if old_unseen else "", len(old_unseen), seed
        ),
        own=folder / "validation.jsonl",
        kept=folder / "replay_validation.jsonl" if old_unseen else None,
        counts={name: len(part) for name, part in parts.items()},
        text_tokens=max(_text_tokens(record) for part in parts.values() for record in part),
        left_out=checked.entries - checked.usable,
    )


def _checked(
    options: FinetuneOptions, path: Path, name: str, processor: MobileVideoGPTProcessor
) -> CheckResult:
    """`data check` of one file, its report in `OUTPUT/NAME`."""
    folder = options.output / name
    folder.mkdir(parents=True, exist_ok=True)
    budget = TokenBudget(
        limit=int(min(processor.tokenizer.model_max_length, 32768)),
        per_video=processor.num_visual_tokens,
        per_image=processor.num_still_tokens["image"],
    )
    wanted = CheckOptions(sample=MOST_DECODED, workers=options.workers, budget=budget)
    result = check_data(path, wanted, memory=folder / "probes.jsonl")
    write_report(result, build_report(result, write_cleaned(result, folder)), folder)
    left_out = result.entries - result.usable
    if not result.usable:
        raise DataError(f"{path} has no usable entry: {folder / 'report.html'} says why.")
    if left_out:
        logger.warning(
            "%d of the %d entries of %s are left out: %s says why.",
            left_out,
            result.entries,
            path,
            folder / "report.html",
        )
    return result


def _usable(result: CheckResult) -> list[Record]:
    """Records without a problem, as their source wants them asked."""
    return [
        apply_prompt(record, source)
        for source in result.config.sources
        for record in result.clean_records(source.name)
    ]


def _content(result: CheckResult, path: Path) -> str:
    probe = result.results.get(path)
    return (probe.digest if isinstance(probe, Probe) else "") or str(path)


def _replayed(
    options: FinetuneOptions, num_train: int, num_unseen: int
) -> tuple[list[Record], list[Record]]:
    """Old records to train on and to hold back: no more than can be of use."""
    if options.replay is None:
        return [], []
    mixture = load_mixture(options.replay)
    size = min(mixture.samples_per_epoch, REPLAY_FACTOR * num_train + num_unseen)
    records = [mixture.record(position) for position in range(size)]
    share = min(num_unseen / len(records), 0.5)
    return split_records(records, share, options.seed)


def check_vocabulary(records: Iterable[Record], tokenizer: PreTrainedTokenizerBase) -> None:
    """Refuse answers that the model cannot say; warn of questions that it cannot read.

    Only word-level vocabularies, as the built-in model's, have unknown words.

    Raises:
        DataError: naming the words.
    """
    if tokenizer.unk_token_id is None:
        return
    unknown: dict[str, dict[str, None]] = {"assistant": {}, "user": {}, "system": {}}
    known: dict[str, bool] = {}
    for record in records:
        for turn in record.turns:
            for word in turn.text.split():
                if word not in known:
                    ids = tokenizer(word, add_special_tokens=False)["input_ids"]
                    known[word] = tokenizer.unk_token_id not in ids
                if not known[word]:
                    unknown[turn.role][word.strip(".,?!").casefold()] = None
    if unknown["assistant"]:
        raise DataError(
            f"The answers hold words that the model's vocabulary lacks "
            f"({_some(unknown['assistant'])}): say it in words that it has."
        )
    if unknown["user"]:
        logger.warning(
            "The model's vocabulary lacks words of the questions (%s): it cannot tell them apart.",
            _some(unknown["user"]),
        )


def _some(words: Iterable[str], most: int = 5) -> str:
    listed = list(words)
    return ", ".join(listed[:most]) + (", ..." if len(listed) > most else "")


def _mixture(folder: Path, new: str, old: str, count: int, seed: int) -> Path:
    """A mixture of new and old records; an epoch holds all of the new ones."""
    sources: list[dict[str, object]] = [{"name": new, "annotations": f"{new}.jsonl"}]
    if old:
        sources.append({"name": old, "annotations": f"{old}.jsonl", "count": count})
    path = folder / f"{new}.yaml"
    write_text(path, yaml.safe_dump({"seed": seed, "sources": sources}, sort_keys=False))
    return path


def _text_tokens(record: Record) -> int:
    return sum(text_tokens(turn.text) + 5 for turn in record.turns)
