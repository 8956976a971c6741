"""How well a model answers held back records: before and after, from the same features.

Greedy decoding gives an answer exactly if, with that answer in place, every one of its tokens is
the likeliest: one forward pass over many records measures what decoding them one by one would.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional as F

from ...models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from ...processor import MobileVideoGPTProcessor
from ...processor.prompt import IGNORED
from ..data.annotations import read_annotations
from ..data.mixture import mixture_of
from ..data.records import Record
from ..media.collate import SampleCollator
from ..media.samples import MediaReader, SampleDataset

MOST_NEW_TOKENS = 64


@dataclass(frozen=True)
class Scores:
    """Of a set of records.

    Attributes:
        records: how many.
        answers_right: share whose answers greedy decoding gets exactly right.
        tokens_right: share of the answers' tokens.
        loss: mean over the answers' tokens.
    """

    records: int
    answers_right: float
    tokens_right: float
    loss: float

    def as_json(self) -> dict[str, Any]:
        return asdict(self)


@torch.inference_mode()
def score_records(
    model: MobileVideoGPTForConditionalGeneration,
    processor: MobileVideoGPTProcessor,
    annotations: Path,
    reader: MediaReader,
    batch_size: int = 8,
) -> Scores:
    """Measure on an annotation file; what cannot be used is replaced, as in training."""
    records = read_annotations(annotations)
    data = SampleDataset(mixture_of(records), processor, len(records), reader=reader)
    collate = SampleCollator(int(processor.tokenizer.pad_token_id or 0))
    exact = right = learned = 0
    loss = 0.0
    for start in range(0, len(data), batch_size):
        rows = [data[i] for i in range(start, min(start + batch_size, len(data)))]
        batch = collate(rows)
        labels = batch.pop("labels")
        del batch["counts"]
        is_answer = labels[:, 1:] != IGNORED  # (B, L - 1), by the position before
        positions = is_answer.any(0).nonzero().squeeze(1)
        moved = {k: v.to(model.device) if torch.is_tensor(v) else v for k, v in batch.items()}
        logits = model(**moved, logits_to_keep=positions.to(model.device)).logits.float().cpu()
        targets, asked = labels[:, positions + 1], is_answer[:, positions]  # (B, P)
        is_right = (logits.argmax(-1) == targets) | ~asked
        exact += int(is_right.all(1).sum())
        right += int((is_right & asked).sum())
        learned += int(asked.sum())
        flat, wanted = logits.flatten(0, 1), targets.flatten()
        loss += float(F.cross_entropy(flat, wanted, ignore_index=IGNORED, reduction="sum"))
    return Scores(len(data), exact / len(data), right / max(learned, 1), loss / max(learned, 1))


@torch.inference_mode()
def answer_records(
    model: MobileVideoGPTForConditionalGeneration,
    processor: MobileVideoGPTProcessor,
    records: Sequence[Record],
    reader: MediaReader,
) -> list[str]:
    """What the model says in the place of each record's last answer."""
    data = SampleDataset(mixture_of(records), processor, len(records), reader=reader)
    said = []
    for record in records:
        messages = data.messages(record)
        ids = data.prompt.encode(messages[: _last_answer(messages)], open_turn=True)
        media = {name: value.to(model.device) for name, value in reader(record.media).items()}
        inputs = torch.tensor([ids], device=model.device)
        generated = model.generate(
            input_ids=inputs,
            attention_mask=torch.ones_like(inputs),
            max_new_tokens=MOST_NEW_TOKENS,
            do_sample=False,
            pad_token_id=processor.tokenizer.pad_token_id,
            eos_token_id=processor.tokenizer.eos_token_id,
            **media,
        )
        new = generated[0, len(ids) :] if generated.shape[1] > len(ids) else generated[0]
        said.append(processor.tokenizer.decode(new, skip_special_tokens=True).strip())
    return said


def _last_answer(messages: Sequence[Any]) -> int:
    """Index of the last assistant message."""
    return max(i for i, message in enumerate(messages) if message.role == "assistant")
