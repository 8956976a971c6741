"""What may be chosen about a fine-tuning run; everything but data and output has a default."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from ..files import write_json

SETTINGS = "finetune.json"
# These change nothing about what is trained, so that a run may go on with others.
_FREE = ("output", "workers", "push_to_hub")


@dataclass(frozen=True)
class FinetuneOptions:
    """See `mobile-videogpt finetune --help`.

    Attributes:
        data: annotations (CSV, JSON) or a mixture.
        output: the run's folder.
        model: a checkpoint's folder, hub id or built-in name.
        validation: annotations to measure on; by default a part of `data`, split by video.
        validation_share: how large that part is.
        replay: annotations of what the model can do already, mixed in so that it is not forgotten.
        replay_share: part of an epoch that is replayed.
        epochs: at most; the validation loss may end the run before.
        patience: epochs without a better validation loss that end it.
        learning_rate: of LoRA; 0: chosen by the model's width. Projectors take a tenth.
        lora_rank: alpha is twice as much.
        global_batch_size: samples of an optimiser step.
        batch_size: samples at a time; 0: chosen by the memory at hand.
        seed: of the split, the order and LoRA's first weights.
        workers: processes that check and decode; None: one per core.
        qlora: the frozen language model in 4 bits (CUDA, bitsandbytes).
        push_to_hub: id of a repository on the Hugging Face hub.
    """

    data: Path
    output: Path
    model: str = "moving-shapes"
    validation: Path | None = None
    validation_share: float = 0.1
    replay: Path | None = None
    replay_share: float = 0.5
    epochs: int = 20
    patience: int = 4
    learning_rate: float = 0.0
    lora_rank: int = 32
    global_batch_size: int = 16
    batch_size: int = 0
    seed: int = 0
    workers: int | None = None
    qlora: bool = False
    push_to_hub: str = ""

    def __post_init__(self) -> None:
        for name in ("validation_share", "replay_share"):
            value = getattr(self, name)
            if not 0 < value < 1:
                raise ValueError(f"{name} is {value:g}; it must lie between 0 and 1")
        for name in ("epochs", "lora_rank", "global_batch_size"):
            if getattr(self, name) < 1:
                raise ValueError(f"{name} is {getattr(self, name)}; it must be at least 1")
        for path in filter(None, (self.data, self.validation, self.replay)):
            if not path.is_file():
                raise ValueError(f"no such annotation file or mixture: {path}")


def remember(options: FinetuneOptions) -> None:
    """Write the options down, or check that a run that goes on has the same.

    Raises:
        ValueError: naming the first that differs.
    """
    options.output.mkdir(parents=True, exist_ok=True)
    path = options.output / SETTINGS
    now = _settings(options)
    if not path.is_file():
        write_json(path, now, indent=1)
        return
    before = json.loads(path.read_text(encoding="utf-8"))
    changed = [name for name in now if now[name] != before.get(name)]
    if changed:
        name = changed[0]
        raise ValueError(
            f"{options.output} holds a run with {name.replace('_', ' ')} {before.get(name)}, now "
            f"it is {now[name]}: give another output, or remove the folder to start anew"
        )


def _settings(options: FinetuneOptions) -> dict[str, Any]:
    settings = {name: value for name, value in asdict(options).items() if name not in _FREE}
    for name in ("data", "validation", "replay"):
        path: Path | None = getattr(options, name)
        settings[name] = str(path) if path else None
        if path:  # another content under the old name is another run
            settings[f"{name}_hash"] = hashlib.sha256(path.read_bytes()).hexdigest()[:16]
    return settings
