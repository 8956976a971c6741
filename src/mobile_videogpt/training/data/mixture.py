"""Several annotation files as one stream of records, in an order that only the seed decides.

A mixture is a YAML file:

    root: ../data            # what the paths below start from; by default the YAML's folder
    seed: 0
    sources:
      - name: k710
        annotations: k710.json
        media_root: kinetics
        repeat: 2            # or count: 5000, or weight: 0.3
        prompt: {suffix: "Answer with a short phrase."}

Sampler and mixture share the work: the mixture knows which record stands at every position of an
endless stream, the sampler which positions a process takes and where it resumes.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np

from .annotations import scan_annotations
from .mixture_file import MixtureConfig, SourceConfig, is_mixture_file, read_mixture_config
from .records import DataError, EntryError, Media, Record, RecordStore, Turn
from .text_checks import text_tokens


class Source:
    """The records of one annotation file, and how they take part in a mixture."""

    def __init__(self, config: SourceConfig, records: Iterable[Record]) -> None:
        self.config = config
        texts, videos, images = [], [], []
        media: list[int] = []
        first: dict[tuple[Media, ...], int] = {}

        def counted() -> Iterable[Record]:
            for record in records:
                texts.append(sum(text_tokens(turn.text) for turn in record.turns))
                videos.append(sum(media.kind == "video" for media in record.media))
                images.append(len(record.media) - videos[-1])
                number = len(media)  # a text without media stands for itself
                media.append(first.setdefault(record.media, number) if record.media else number)
                yield record

        self.records = RecordStore(counted())
        self.text_tokens = np.asarray(texts, dtype=np.int64)
        self.videos = np.asarray(videos, dtype=np.int64)
        self.images = np.asarray(images, dtype=np.int64)
        self.media = np.asarray(media, dtype=np.int64)  # first record with the same media

    def record(self, index: int) -> Record:
        """Record `index` of the file, with the source's prompt and system message applied."""
        return apply_prompt(self.records[index], self.config)


class Mixture:
    """An endless, reproducible stream of records.

    Position p is place p % samples_per_epoch of epoch p // samples_per_epoch. Every epoch holds the
    same number of samples of each source in another order; a source that gives a fraction of its
    records to an epoch gives others to the next, until all had their turn.

    Attributes:
        name: for messages and reports.
        sources: with their records.
        samples_per_epoch: N.
    """

    def __init__(self, config: MixtureConfig, sources: list[Source]) -> None:
        self.name = config.name
        self.seed = config.seed
        self.sources = sources
        self._shuffle = config.shuffle
        self.shares = _shares(config, [len(source.records) for source in sources])
        self.samples_per_epoch = sum(self.shares)
        if not self.samples_per_epoch:
            raise DataError(f"{config.path} has no samples: its sources are empty.")
        # An instance's own: two epochs are at hand when a sampler crosses from one to the next.
        self._order = lru_cache(maxsize=2)(self._make_order)

    def __getstate__(self) -> dict[str, Any]:
        """Without the cache, which cannot be sent to another process."""
        return {name: value for name, value in self.__dict__.items() if name != "_order"}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._order = lru_cache(maxsize=2)(self._make_order)

    def place(self, position: int) -> tuple[int, int]:
        """Which source, and which of its records, stands at `position` (0 or more)."""
        if position < 0:
            raise IndexError(f"position {position} is negative: the stream begins at 0.")
        epoch, place = divmod(position, self.samples_per_epoch)
        source, index = self._order(epoch)[place]
        return int(source), int(index)

    def record(self, position: int) -> Record:
        """The record at `position`, any number from 0 on."""
        source, index = self.place(position)
        return self.sources[source].record(index)

    def lengths(
        self, epoch: int = 0, *, tokens_per_video: int = 0, tokens_per_image: int = 0
    ) -> list[int]:
        """About how many tokens stand at each place of an epoch, for grouping by length."""
        per_source = [
            source.text_tokens + source.videos * tokens_per_video + source.images * tokens_per_image
            for source in self.sources
        ]
        return [int(per_source[source][index]) for source, index in self._order(epoch)]

    def media_numbers(self, epoch: int = 0) -> list[int]:
        """A number at each place of an epoch: the same where samples are about the same media."""
        sizes = [len(source.records) for source in self.sources]
        offsets = np.cumsum([0, *sizes])
        order = self._order(epoch)
        return [int(self.sources[s].media[index] + offsets[s]) for s, index in order]

    def describe(self) -> dict[str, Any]:
        """What the mixture is made of, as JSON."""
        return {
            "name": self.name,
            "seed": self.seed,
            "samples_per_epoch": self.samples_per_epoch,
            "sources": [
                {
                    "name": source.config.name,
                    "annotations": str(source.config.annotations),
                    "records": len(source.records),
                    "per_epoch": share,
                    "share": round(share / self.samples_per_epoch, 6),
                    "epochs_to_see_all": round(len(source.records) / share, 3) if share else None,
                }
                for source, share in zip(self.sources, self.shares, strict=True)
            ],
        }

    def _make_order(self, epoch: int) -> np.ndarray:
        """Source and record index of each place of an epoch, int64 (N, 2)."""
        parts = []
        for number, (source, share) in enumerate(zip(self.sources, self.shares, strict=True)):
            indices = self._stretch(number, len(source.records), epoch * share, share)
            parts.append(np.stack([np.full(share, number), indices], axis=1))
        order = np.concatenate(parts)
        if self._shuffle:
            order = order[np.random.default_rng([self.seed, epoch]).permutation(len(order))]
        return order

    def _stretch(self, source: int, size: int, start: int, count: int) -> np.ndarray:
        """`count` record indices from `start` on of a source's own endless stream of passes."""
        taken = [np.empty(0, dtype=np.int64)]
        while count:
            turn, offset = divmod(start, size)
            order = np.arange(size)
            if self._shuffle:
                order = np.random.default_rng([self.seed, turn, source, 1]).permutation(size)
            piece = order[offset : offset + count]
            taken.append(piece)
            start, count = start + len(piece), count - len(piece)
        return np.concatenate(taken)


def load_mixture(path: str | Path, *, root: str | Path | None = None) -> Mixture:
    """Read a mixture and its annotations; an annotation file is a mixture of one.

    Args:
        path: the mixture's YAML, or an annotation file with its media beside it.
        root: where the data lies, instead of the mixture's own `root`.

    Raises:
        DataError: for the first thing that cannot be used.
    """
    config = read_config(path, root=root)
    return Mixture(config, [_load_source(config, source) for source in config.sources])


def read_config(path: str | Path, *, root: str | Path | None = None) -> MixtureConfig:
    """What a mixture or an annotation file says, without reading any annotations."""
    path = Path(path)
    if is_mixture_file(path):
        return read_mixture_config(path, root=root)
    media_root = None if root is None else Path(root)
    source = SourceConfig(name=path.stem, annotations=path, media_root=media_root)
    return MixtureConfig(path=path, name=path.stem, sources=(source,))


def mixture_of(records: Iterable[Record], name: str = "records", seed: int = 0) -> Mixture:
    """A mixture of records that are at hand already."""
    source = SourceConfig(name=name, annotations=Path(name))
    config = MixtureConfig(path=Path(name), name=name, sources=(source,), seed=seed)
    return Mixture(config, [Source(source, records)])


def apply_prompt(record: Record, source: SourceConfig) -> Record:
    """The record as this source wants it asked: every user turn, and the system message."""
    turns = tuple(
        replace(turn, text=source.ask(turn.text)) if turn.role == "user" else turn
        for turn in record.turns
    )
    if source.system is not None and turns[0].role != "system":
        turns = (Turn("system", source.system), *turns)
    return replace(record, turns=turns)


def _load_source(config: MixtureConfig, source: SourceConfig) -> Source:
    def records() -> Iterable[Record]:
        found = scan_annotations(
            source.annotations, media_root=source.media_root, layout=source.layout
        )
        for record in found:
            if isinstance(record, EntryError):
                raise DataError(
                    f"{record} All such entries: mobile-videogpt data check {config.path}"
                )
            yield record

    return Source(source, records())


def _shares(config: MixtureConfig, sizes: list[int]) -> list[int]:
    """Samples per epoch of each source: its count, its repeats, or its part of what is left."""
    shares = []
    for source, size in zip(config.sources, sizes, strict=True):
        if source.count is not None:
            if source.count and not size:
                raise DataError(f"{source.annotations} is empty: {source.count} were asked of it.")
            shares.append(source.count)
        else:
            shares.append(0 if source.weight is not None else round(size * source.repeat))
    weighted = [i for i, source in enumerate(config.sources) if source.weight is not None]
    if weighted:
        left = (config.samples_per_epoch or sum(sizes)) - sum(shares)
        _share_out(config, weighted, sizes, left, shares)
    return shares


def _share_out(
    config: MixtureConfig, weighted: list[int], sizes: list[int], left: int, shares: list[int]
) -> None:
    """Give `left` samples to the weighted sources, the rounding to the largest remainders."""
    weights = np.array([config.sources[i].weight for i in weighted], dtype=np.float64)
    for i, weight in zip(weighted, weights, strict=True):
        if weight and not sizes[i]:
            raise DataError(f"{config.sources[i].annotations} is empty, but has a weight.")
    if left < 0:
        raise DataError(
            f"{config.path}: counts and repeats take {-left} samples more than samples_per_epoch, "
            "nothing is left for the weighted sources: raise samples_per_epoch."
        )
    exact = left * weights / weights.sum()
    given = np.floor(exact).astype(int)
    for i in np.argsort(given - exact, kind="stable")[: left - int(given.sum())]:
        given[i] += 1
    for i, number in zip(weighted, given, strict=True):
        shares[i] = int(number)
