"""The model card: what was trained on what, before and after, and some answers to look at."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from ... import __version__
from ...checkpoints.hub import BUILT_IN
from ..data.records import Record
from .options import FinetuneOptions
from .plan import Sizes
from .prepare import Prepared

_CARD = """---
library_name: mobile-videogpt
pipeline_tag: video-text-to-text
tags:
- video
- lora{base_model}
---
# {name}

`{model}`, fine-tuned with mobile-videogpt {version} on {train:,} samples: LoRA of rank {rank} on
the language model, both projectors whole; the encoders are as they were. Nothing but what is below
was measured.

```bash
mobile-videogpt ask VIDEO "{question}" --model {output}
```

## Before and after

{unseen:,} samples that training never saw{split}. *Answers*: greedy decoding gives the
exact answer; *tokens*: share of the answers' tokens; *loss*: mean over those tokens.

| | | answers | tokens | loss | samples |
| --- | --- | --- | --- | --- | --- |
{scores}

## Some answers

| Question | Wanted | Before | After |
| --- | --- | --- | --- |
{samples}

## How

| | |
| --- | --- |
{how}
"""


@dataclass(frozen=True)
class Example:
    """A held back record, and what was said before and after."""

    question: str
    wanted: str
    before: str
    after: str


def example_texts(record: Record) -> tuple[str, str]:
    """The last question and the wanted answer of a record."""
    answer = max(i for i, turn in enumerate(record.turns) if turn.role == "assistant")
    asked = [turn.text for turn in record.turns[:answer] if turn.role == "user"]
    return (asked[-1] if asked else "", record.turns[answer].text)


def model_card(
    options: FinetuneOptions,
    data: Prepared,
    sizes: Sizes,
    scores: dict[str, Any],
    examples: list[Example],
    training: dict[str, Any],
) -> str:
    """The card's text.

    Args:
        options: of the run.
        data: what it was made of.
        sizes: of a step.
        scores: "before" and "after" of `new` and, with replay, of `old` records.
        examples: some held back records.
        training: steps, epochs, seconds, learning_rate.
    """
    is_hub_id = options.model != BUILT_IN and "/" in options.model and options.model[0] not in "./"
    own_file = options.validation is not None
    return _CARD.format(
        base_model=f"\nbase_model: {options.model}" if is_hub_id else "",
        name=options.push_to_hub.rpartition("/")[2] or options.output.name,
        model=options.model,
        version=__version__,
        train=data.counts["train"],
        rank=options.lora_rank,
        question=examples[0].question.replace('"', "'").partition("\n")[0] if examples else "...",
        output=options.push_to_hub or f"{options.output}/model",
        unseen=data.counts["validation"],
        split=" (a file of their own)" if own_file else " (other videos of the same set)",
        scores="\n".join(_score_rows(scores)),
        samples="\n".join(_row(e.question, e.wanted, e.before, e.after) for e in examples),
        how="\n".join(_row(name, value) for name, value in _how(options, data, sizes, training)),
    )


def _score_rows(scores: dict[str, Any]) -> list[str]:
    rows = []
    for part, title in (("new", "new data"), ("old", "replayed data")):
        for when in ("before", "after"):
            score = scores[when].get(part)
            if score:
                shares = (f"{score[key]:.1%}" for key in ("answers_right", "tokens_right"))
                loss = f"{score['loss']:.3f}"
                rows.append(_row(title, when, *shares, loss, f"{score['records']:,}"))
    return rows


def _how(
    options: FinetuneOptions, data: Prepared, sizes: Sizes, training: dict[str, Any]
) -> list[tuple[str, str]]:
    replay = f"{data.counts['replay']:,} samples, {options.replay_share:.0%} of an epoch"
    return [
        ("data", options.data.name),
        ("replay", replay if data.counts["replay"] else "none"),
        ("entries left out by the check", f"{data.left_out:,}"),
        ("steps", f"{training['steps']} of {training['samples_per_step']} samples"),
        ("kept checkpoint", f"step {training['best_step']}, by the validation loss"),
        ("learning rate", f"{training['learning_rate']:.1e}, projectors a tenth"),
        ("at a time", f"{sizes.batch_size} samples on {sizes.device}"),
        ("seconds", f"{training['seconds']:.0f}"),
        ("seed", str(options.seed)),
    ]


def _row(*cells: str) -> str:
    escaped = [" ".join(cell.split()).replace("|", "\\|") or " " for cell in cells]
    return f"| {' | '.join(escaped)} |"
