"""Rows of any make-up -> one batch; rows about the same media share their visual tokens."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from ...processor.prompt import IGNORED
from ..shared_prefix import SharedRow, collate_shared, share_prefix

Row = dict[str, Any]


@dataclass(frozen=True)
class SampleCollator:
    """Rows of any make-up -> one batch for the model's `forward`, with what it counts.

    Rows are padded on the right; media of all rows follow each other in the order of their
    placeholders. `counts` holds the numbers of samples, visual tokens and replaced samples.

    Attributes:
        pad_id: token to pad with.
        still_branch: which encoder stills are for.
        shares_prefixes: whether rows about the same media may be put behind one copy of the visual
            tokens. Losses and gradients stay as they are; the batch has fewer rows than samples.
    """

    pad_id: int
    still_branch: str = "image"
    shares_prefixes: bool = False

    def __call__(self, rows: list[Row]) -> dict[str, Any]:
        groups = shared_groups(rows) if self.shares_prefixes else [[row] for row in rows]
        is_shared = len(groups) < len(rows)
        batch: dict[str, Any] = self._shared(groups) if is_shared else self._padded(rows)
        batch["counts"] = torch.tensor(
            [
                len(rows),
                sum(row["visual_tokens"] for row in rows),
                sum(row["replaced"] for row in rows),
            ]
        )
        media = [group[0]["media"] for group in groups]
        for name in sorted({name for found in media for name in found}):
            batch[name] = torch.cat([found[name] for found in media if name in found])
        if "still_pixel_values" in batch or "still_features" in batch:
            batch["still_branch"] = self.still_branch
        return batch

    def _padded(self, rows: list[Row]) -> dict[str, Tensor]:
        def columns(name: str, value: int) -> Tensor:
            return pad_sequence([row[name] for row in rows], True, value)

        ones = [torch.ones_like(row["input_ids"]) for row in rows]
        return {
            "input_ids": columns("input_ids", self.pad_id),
            "labels": columns("labels", IGNORED),
            "attention_mask": pad_sequence(ones, batch_first=True),
        }

    def _shared(self, groups: list[list[Row]]) -> dict[str, Tensor]:
        batch = collate_shared([_joined(group) for group in groups], self.pad_id)
        del batch["segments"]
        return batch


def _joined(group: list[Row]) -> SharedRow:
    ids, labels = [row["input_ids"] for row in group], [row["labels"] for row in group]
    return share_prefix(ids, labels, group[0]["prefix_length"])


def shared_groups(rows: Sequence[Row]) -> list[list[Row]]:
    """Which rows go behind one prefix: as many as leave the fewest tokens, padding included.

    A row with many texts is long, and the others are padded to its length: groups are cut to the
    size that makes the batch smallest.
    """
    groups: dict[Any, list[Row]] = {}
    for row in rows:
        groups.setdefault(_prefix(row), []).append(row)
    largest = max(len(group) for group in groups.values())
    cuts = [_cut(groups.values(), size) for size in range(1, largest + 1)]
    return min(cuts, key=lambda cut: len(cut) * max(_length(group) for group in cut))


def _prefix(row: Row) -> Any:
    """Rows of equal media and equal tokens up to the last visual one may share these."""
    length = row["prefix_length"]
    if not length or (row["labels"][1 : length + 1] != IGNORED).any():
        return id(row)  # nothing to share, or something is learned there
    return row["media_key"], tuple(row["input_ids"][:length].tolist())


def _cut(groups: Iterable[list[Row]], size: int) -> list[list[Row]]:
    return [group[i : i + size] for group in groups for i in range(0, len(group), size)]


def _length(group: list[Row]) -> int:
    shared = (len(group) - 1) * group[0]["prefix_length"]
    return sum(len(row["input_ids"]) for row in group) - shared
