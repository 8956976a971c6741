"""What the model answered, one line a question, written as it is answered.

`OUT/<task>/predictions.jsonl` holds the lines of one process; where several share a task, each
writes `predictions-<i>-of-<n>.jsonl` beside it until all are done and the last one merges them.
Whatever the files are called, a resumed run finds what is answered in all of them.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..files import JsonLinesFile, read_json_lines, write_atomically

MERGED = "predictions.jsonl"
_ANY_SHARD = "predictions*.jsonl"
_HINT = "move it away, or name another --output"


@dataclass(frozen=True)
class Blind:
    """The same question about a clip of black frames: what the question alone gives away."""

    output: str
    prediction: Any
    score: float | None
    random: bool = False


@dataclass(frozen=True)
class Prediction:
    """One question and what became of it: a line of `predictions.jsonl`.

    Attributes:
        task, id, sub_task, group: which question.
        prompt: what the model was shown below the video.
        output: what it wrote; with `answer_by` "likelihood" the likeliest option's letter.
        prediction: what was read out of it, as the task's scorer takes it.
        answer: the right letter or text; None where it is kept secret.
        score: 1 right, 0 wrong or unreadable, or a share; None: secret, or a judge has not spoken.
        options: the bare option texts; empty for an open question.
        video, start, end, fps: which video and which part of it, as `VideoChat.open` takes them.
        kept_frames: positions, among the sampled frames, of those the video encoder saw.
        kept_times: their seconds.
        seconds: all that this question took, opening the video included where `is_first`.
        tokens: written by the model.
        ttft_s: up to the first token (or the options' scores), opening included where `is_first`.
        decode_s: from the first token to the last.
        is_first: the video was opened for this question; others about it found it open.
        answer_by: "generation" or "likelihood".
        log_likelihoods: one per option, with "likelihood".
        random: the prediction was drawn, because nothing could be read.
        error: why there is no answer, in one sentence; the score is then 0.
        blind: the same without the video; None where that was not asked.
        judge: which model judged an open answer; None where none did.
        verdict: what it said, as the task reads it.
        judge_error: why there is no verdict although a judge was asked.
    """

    task: str
    id: str
    sub_task: str | None
    group: str | None
    prompt: str
    output: str
    prediction: Any
    answer: str | None
    score: float | None
    options: tuple[str, ...]
    video: str
    start: float | None = None
    end: float | None = None
    fps: float | None = None
    kept_frames: tuple[int, ...] = ()
    kept_times: tuple[float, ...] = ()
    seconds: float = 0.0
    tokens: int = 0
    ttft_s: float | None = None
    decode_s: float | None = None
    is_first: bool = False
    answer_by: str = "generation"
    log_likelihoods: tuple[float, ...] = ()
    random: bool = False
    error: str | None = None
    blind: Blind | None = None
    judge: str | None = None
    verdict: dict[str, Any] | None = None
    judge_error: str | None = None

    def to_line(self) -> str:
        """One line of JSON."""
        return json.dumps(asdict(self), ensure_ascii=False, allow_nan=False)

    @classmethod
    def from_record(cls, record: dict[str, Any]) -> Prediction:
        """The prediction that a line holds.

        Raises:
            TypeError: keys are missing, or are not ours.
        """
        tuples = ("options", "kept_frames", "kept_times", "log_likelihoods")
        values = {**record, **{name: tuple(record.get(name, ())) for name in tuples}}
        if record.get("blind") is not None:
            values["blind"] = Blind(**record["blind"])
        return cls(**values)


class PredictionFolder:
    """The predictions of one task, however many processes write them.

    Args:
        folder: OUT/<task>; made when the first line is written.
        shard: this process's place among so many, (i, n) counted from 0.

    Raises:
        ValueError: a file in it is none of ours.
    """

    def __init__(self, folder: Path, shard: tuple[int, int] = (0, 1)) -> None:
        self.folder = folder
        place, count = shard
        name = MERGED if count == 1 else f"predictions-{place}-of-{count}.jsonl"
        # Opened before the others are read: only our own torn line may be cut off.
        self._file = JsonLinesFile(folder / name, _HINT)

    def append(self, prediction: Prediction) -> None:
        """Write one line through to this process's file."""
        self.folder.mkdir(parents=True, exist_ok=True)
        self._file.append(prediction.to_line())

    def read(self) -> dict[str, Prediction]:
        """All predictions by id, from every file of the task; the latest of equals."""
        return read_predictions(self.folder)

    def merge(self, ids: Sequence[str]) -> bool:
        """Put all predictions into one file, in the order of `ids`, once every id has one.

        Safe when several processes do it at once: each writes the same. Returns whether all were
        there; if not, nothing is changed.
        """
        found = self.read()
        if any(identifier not in found for identifier in ids):
            return False
        self.write(found, ids)
        for path in self.folder.glob(_ANY_SHARD):
            if path.name != MERGED:
                path.unlink(missing_ok=True)
        return True

    def write(self, predictions: dict[str, Prediction], ids: Sequence[str]) -> None:
        """Replace the merged file: first what `ids` names, in that order, then what else is there.

        Others are there when a run with a larger `--limit` came before.
        """
        named = set(ids)
        first = [predictions[identifier] for identifier in ids]
        rest = [p for name, p in predictions.items() if name not in named]
        self.folder.mkdir(parents=True, exist_ok=True)
        _write_lines(self.folder / MERGED, (p.to_line() for p in (*first, *rest)))

    def forget(self, ids: Iterable[str]) -> None:
        """Drop predictions, so that their questions are asked again."""
        gone = set(ids)
        for path in (self.folder / MERGED, self._file.path):
            if not path.is_file():
                continue
            kept = [r for r in read_json_lines(path, _HINT) if r.get("id") not in gone]
            _write_lines(path, (json.dumps(r, ensure_ascii=False) for r in kept))


def read_predictions(folder: Path) -> dict[str, Prediction]:
    """The predictions in OUT/<task> by id, finished or not; empty if there are none.

    Raises:
        ValueError: a file holds something else.
    """
    found: dict[str, Prediction] = {}
    # The merged file sorts after the shards ("-" before "."): what it says counts.
    for path in sorted(folder.glob(_ANY_SHARD)):
        # Another process may have merged it away since it was listed.
        with suppress(FileNotFoundError):
            for record in read_json_lines(path, _HINT):
                prediction = _prediction(record, path)
                found[prediction.id] = prediction
    return found


def _write_lines(path: Path, lines: Iterable[str]) -> None:
    text = "".join(f"{line}\n" for line in lines)
    write_atomically(path, text.encode("utf-8", "backslashreplace"))


def _prediction(record: dict[str, Any], path: Path) -> Prediction:
    try:
        return Prediction.from_record(record)
    except TypeError as error:
        raise ValueError(f"{path} holds a line that is no prediction ({error}); {_HINT}") from error
