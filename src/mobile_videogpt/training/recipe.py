"""A training recipe: one YAML that names the stages, and one YAML for each stage."""

from __future__ import annotations

from dataclasses import dataclass, field, fields
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

if TYPE_CHECKING:
    from ..config import MobileVideoGPTConfig


class RecipeError(ValueError):
    """A recipe that cannot be used, in one sentence."""


@dataclass(frozen=True)
class Stage:
    """One stage. `kind` picks the code, the rest are its hyper-parameters."""

    name: str
    kind: str
    steps: int
    batch_size: int
    learning_rate: float
    warmup_steps: int = 50
    weight_decay: float = 0.0
    projector_learning_rate: float | None = None
    questions_per_clip: int = 12
    per_family: dict[str, int] = field(default_factory=dict)  # most questions of a family, else 2
    hide_branch: float = 0.0  # chance that a row hides its image tokens, and again its video tokens
    lora_rank: int = 64
    lora_alpha: int = 128
    lora_dropout: float = 0.0
    save_steps: int = 200
    attribute_weights: dict[str, float] = field(default_factory=dict)  # dense stages: loss weights
    forget: dict[str, float] = field(default_factory=dict)  # scene stage: attribute -> drop chance
    gate: dict[str, float] = field(default_factory=dict)  # measure -> least value to go on
    source: str = ""  # what the values follow


@dataclass(frozen=True)
class Recipe:
    """The whole run: groups in order, lanes of a group side by side, a lane in turn."""

    path: Path
    output: Path
    preset: str
    seed: int
    train_clips: int
    validation_clips: int
    lanes: tuple[tuple[tuple[Stage, ...], ...], ...]
    model: dict[str, Any] = field(default_factory=dict)  # fields of the preset to set differently
    start: Path | None = None  # the run whose stage 0 and clips are used instead of own ones
    features: Path | None = None  # where the encoders' features lie, else below `output`
    images: Path | None = None  # the features whose image half is used instead of an own one

    def config(self) -> MobileVideoGPTConfig:
        """The model's configuration."""
        from ..config import MobileVideoGPTConfig

        return MobileVideoGPTConfig.preset(self.preset, **self.model)

    def stage(self, name: str) -> Stage:
        """The stage of that name; raises `RecipeError` if there is none."""
        for stage in self.stages():
            if stage.name == name:
                return stage
        raise RecipeError(f"{self.path} has no stage {name!r}.")

    def stages(self) -> list[Stage]:
        return [stage for group in self.lanes for lane in group for stage in lane]


def load_recipe(path: str | Path) -> Recipe:
    """Read a recipe; raises `RecipeError` naming the file and the field."""
    path = Path(path)
    if not path.is_file():
        raise RecipeError(
            f"No recipe at {path}: give a YAML file such as configs/moving-shapes.yaml."
        )
    raw = read_yaml(path)
    try:
        groups = tuple(_group(path.parent, entry) for entry in raw["stages"])
        return Recipe(
            path=path,
            output=Path(raw["output"]),
            preset=raw["preset"],
            seed=int(raw.get("seed", 0)),
            train_clips=int(raw["train_clips"]),
            validation_clips=int(raw["validation_clips"]),
            lanes=groups,
        )
    except KeyError as error:
        raise RecipeError(f"{path} lacks the field {error.args[0]!r}.") from None


def read_yaml(path: Path) -> dict[str, Any]:
    """A YAML file of fields; raises `RecipeError` if it is none."""
    try:
        raw = yaml.safe_load(path.read_text(encoding="utf-8"))
    except (OSError, yaml.YAMLError) as error:
        raise RecipeError(f"{path} cannot be read as YAML: {error}.") from None
    if not isinstance(raw, dict):
        raise RecipeError(f"{path} must hold a mapping of fields, not {type(raw).__name__}.")
    return raw


def _group(folder: Path, entry: Any) -> tuple[tuple[Stage, ...], ...]:
    """A name is one lane of one stage; a list holds lanes, each a name or a list of names."""
    lanes = entry if isinstance(entry, list) else [entry]
    return tuple(
        tuple(load_stage(folder / name) for name in (lane if isinstance(lane, list) else [lane]))
        for lane in lanes
    )


def load_stage(path: Path) -> Stage:
    """Read one stage; raises `RecipeError` naming the file and the field."""
    raw = read_yaml(path)
    known = {f.name for f in fields(Stage)}
    unknown = sorted(set(raw) - known)
    if unknown:
        raise RecipeError(
            f"{path} has the unknown field {unknown[0]!r}; known: {', '.join(sorted(known))}."
        )
    try:
        return Stage(**raw)
    except TypeError as error:
        raise RecipeError(f"{path}: {error}.") from None
