"""A recipe that trains from media: `model:` says where it starts, every stage names its `data:`.

The other kind, in `recipe`, makes the built-in model from nothing. Values are fields of the
dataclasses below and nothing else; an unknown one is an error.
"""

from __future__ import annotations

import math
from dataclasses import MISSING, dataclass, fields, replace
from pathlib import Path
from typing import Any, TypeVar

from ..recipe import RecipeError, read_yaml

KINDS = ("image_projector", "video_projector", "instruct")
T = TypeVar("T")


@dataclass(frozen=True)
class ModelParts:
    """A model put together from public parts; the projectors start fresh."""

    preset: str
    """Sizes, by name."""
    image_encoder: str = ""
    """CLIP: a folder or a hub id."""
    video_encoder: str = ""
    """VideoMamba: a file, a folder, or hub id/file."""
    language_model: str = ""
    """Qwen2.5: a folder or a hub id."""
    tokenizer: str = ""
    """A folder or a hub id; by default the language model's."""
    random: bool = False
    """Parts that are not named start with random weights."""


@dataclass(frozen=True)
class MediaStage:
    """One stage of training from media, with its hyper-parameters."""

    name: str
    kind: str
    """`image_projector`, `video_projector` or `instruct` (both projectors, LoRA)."""
    data: Path
    """A mixture or an annotation file; in the YAML relative to the recipe."""
    learning_rate: float
    batch_size: int
    """Samples that one device works on at a time."""
    global_batch_size: int = 0
    """Samples of an optimiser step, all devices together; 0: one batch from each device."""
    epochs: float = 0.0
    steps: int = 0
    """Optimiser steps; give these or `epochs`."""
    projector_learning_rate: float | None = None
    """Another rate for the projectors of `instruct`."""
    warmup_ratio: float = 0.03
    """Share of the steps."""
    weight_decay: float = 0.0
    max_grad_norm: float = 1.0
    lora_rank: int = 128
    lora_alpha: int = 256
    lora_dropout: float = 0.05
    label_style: str = "answers"
    """`answers`, or `released`: headers of answers and all chat tokens are learned too."""
    max_length: int | None = None
    """Tokens of a row, visual ones included; longer text is cut, longer media left out."""
    group_by_length: bool = True
    """Rows of a step are about equally long."""
    group_by_media: bool = False
    """Instead: samples about the same media follow each other, and share their visual tokens."""
    qlora: bool = False
    """`instruct`: the frozen language model in 4 bits; CUDA and bitsandbytes."""
    gradient_checkpointing: bool = False
    bf16: bool | str = "auto"
    """`auto`: where the device has it."""
    workers: int = 0
    """Processes that read media, for each device."""
    logging_steps: int = 10
    save_steps: int = 500
    save_total_limit: int = 2
    features: Path | None = None
    """What `data encode` made of the data: read instead of videos and pictures."""
    validation: Path | None = None
    """Like `data`: its loss is measured at every checkpoint."""
    patience: int = 0
    """Checkpoints without a better validation loss that end the stage, at its best; 0: never."""
    source: str = ""
    """What the values follow."""

    @property
    def warmup_steps(self) -> int:
        return math.ceil(self.warmup_ratio * self.steps)

    @property
    def still_branch(self) -> str:
        """Where stills go: stage 2 warms the video projector up on them."""
        return "video" if self.kind == "video_projector" else "image"

    def accumulation(self, num_devices: int) -> int:
        """Batches that every device adds up for one optimiser step.

        Raises:
            RecipeError: if `global_batch_size` is no multiple of what the devices do at once.
        """
        at_once = self.batch_size * num_devices
        total = self.global_batch_size or at_once
        if total % at_once:
            raise RecipeError(
                f"Stage {self.name} has global_batch_size {total}, which is no multiple of "
                f"batch_size {self.batch_size} x {num_devices} devices; change one of them."
            )
        return total // at_once

    def scheduled(self, samples_per_epoch: int, num_devices: int) -> MediaStage:
        """The same stage with its number of steps and its global batch size filled in.

        A stage shorter than `logging_steps` is logged at its end.
        """
        total = self.accumulation(num_devices) * self.batch_size * num_devices
        steps = self.steps or math.ceil(self.epochs * samples_per_epoch / total)
        logging_steps = min(self.logging_steps, steps)
        return replace(self, steps=steps, global_batch_size=total, logging_steps=logging_steps)


@dataclass(frozen=True)
class MediaRecipe:
    """The whole run: stages in order, each going on from the one before."""

    path: Path
    output: Path
    model: str | ModelParts
    """A checkpoint's folder, hub id or built-in name; or parts."""
    stages: tuple[MediaStage, ...]
    seed: int = 0
    report_to: str = "none"
    """`tensorboard`, `wandb` or whatever transformers reports to."""
    data_root: Path | None = None
    """Where the data lies, instead of what the mixtures say."""

    def stage(self, name: str) -> MediaStage:
        """The stage of that name; raises `RecipeError` if there is none."""
        for stage in self.stages:
            if stage.name == name:
                return stage
        raise RecipeError(f"{self.path} has no stage {name!r}.")


def is_media_recipe(path: str | Path) -> bool:
    """Whether the recipe trains from media; raises `RecipeError` if it cannot be read."""
    return Path(path).is_file() and "model" in read_yaml(Path(path))


def load_media_recipe(path: str | Path) -> MediaRecipe:
    """Read a recipe; raises `RecipeError` naming the file and the field."""
    path = Path(path)
    raw = read_yaml(path)
    stages = raw.get("stages")
    if not isinstance(stages, list) or not stages:
        raise RecipeError(f"{path} names no stages: give a list of YAML files.")
    values = {
        **raw,
        "path": path,
        "output": Path(str(raw.get("output", ""))),
        "model": _model(path, raw["model"]),
        "stages": tuple(_stage(path.parent, entry) for entry in stages),
        "data_root": Path(raw["data_root"]).expanduser() if raw.get("data_root") else None,
    }
    if "output" not in raw:
        raise RecipeError(f"{path} lacks the field 'output'.")
    recipe = _build(MediaRecipe, values, path)
    names = [stage.name for stage in recipe.stages]
    if len(set(names)) < len(names):
        raise RecipeError(f"{path} has two stages of one name; they would share a folder.")
    return recipe


def _model(path: Path, raw: Any) -> str | ModelParts:
    if isinstance(raw, dict):
        parts = _build(ModelParts, raw, path)
        near = {f.name: _near(path.parent, getattr(parts, f.name)) for f in fields(ModelParts)}
        return replace(parts, **near)
    return str(_near(path.parent, raw))


def _near(folder: Path, value: Any) -> Any:
    """A path from the recipe's folder where there is such a thing, anything else as it is."""
    if isinstance(value, str) and value.startswith(".") and (folder / value).exists():
        return str((folder / value).resolve())
    return value


def _stage(folder: Path, entry: Any) -> MediaStage:
    path = folder / str(entry)
    raw = read_yaml(path)
    for name in ("data", "validation", "features"):
        if isinstance(raw.get(name), str):
            raw[name] = folder / raw[name]
    stage = _build(MediaStage, raw, path)
    _check(stage, path)
    return stage


def _check(stage: MediaStage, path: Path) -> None:
    if stage.kind not in KINDS:
        known = ", ".join(KINDS)
        raise RecipeError(f"{path} has the unknown kind {stage.kind!r}; known: {known}.")
    if (stage.steps > 0) == (stage.epochs > 0):
        raise RecipeError(f"{path} needs either steps or epochs, and one of them only.")
    if stage.label_style not in ("answers", "released"):
        raise RecipeError(f"{path} has label_style {stage.label_style!r}; use answers or released.")
    if stage.bf16 not in (True, False, "auto"):
        raise RecipeError(f"{path} has bf16 {stage.bf16!r}; use true, false or auto.")
    if stage.patience and stage.validation is None:
        raise RecipeError(f"{path} has patience but no validation; name data to measure it on.")
    if stage.batch_size < 1:
        raise RecipeError(f"{path} has batch_size {stage.batch_size}; it must be at least 1.")


def _build(kind: type[T], raw: dict[str, Any], path: Path) -> T:
    """A dataclass from a mapping; unknown and missing fields are errors."""
    declared = {f.name: f for f in fields(kind)}  # type: ignore[arg-type]
    unknown = sorted(set(raw) - set(declared))
    if unknown:
        raise RecipeError(
            f"{path} has the unknown field {unknown[0]!r}; known: {', '.join(sorted(declared))}."
        )
    missing = [n for n, f in declared.items() if f.default is MISSING and n not in raw]
    if missing:
        raise RecipeError(f"{path} lacks the field {missing[0]!r}.")
    return kind(**{name: _number(declared[name].type, value) for name, value in raw.items()})


def _number(declared: Any, value: Any) -> Any:
    """YAML reads 1e-3 (without a dot) as text; the field's type knows better."""
    if isinstance(value, str) and str(declared).startswith("float"):
        try:
            return float(value)
        except ValueError:
            raise RecipeError(f"{value!r} is not a number.") from None
    return value
