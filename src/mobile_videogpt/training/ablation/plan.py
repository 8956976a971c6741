"""What an ablation trains: one YAML that names the variants, each a recipe of its own."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ..recipe import Recipe, RecipeError, Stage, load_stage, read_yaml

# The stages that train what a variant does not have are left out.
NEEDS = {"image_projector": "image", "video_projector": "video"}
# What the kept frames' features depend on.
SELECTION_FIELDS = (
    "frame_selection",
    "frames_kept_per_chunk",
    "frames_per_chunk",
    "select_largest",
    "video_passes",
)
FIELDS = ("output", "start", "preset", "seeds", "train_clips", "test_clips", "stages", "variants")


@dataclass(frozen=True)
class Ablation:
    """Variants of one model, trained alike from the same stage 0."""

    path: Path
    output: Path
    start: Path
    preset: str
    seeds: tuple[int, ...]
    train_clips: int
    test_clips: int
    stages: tuple[Stage, ...]
    variants: Mapping[str, Mapping[str, Any]]

    def recipe(self, variant: str, seed: int) -> Recipe:
        """How one variant is trained with one seed.

        Raises `RecipeError` for an unknown variant, or one that the configuration refuses.
        """
        if variant not in self.variants:
            known = ", ".join(self.variants)
            raise RecipeError(f"{self.path} has no variant {variant!r}; known: {known}.")
        fields = dict(self.variants[variant])
        encoders = fields.get("encoders", "both")
        needed = [s for s in self.stages if encoders in ("both", NEEDS.get(s.kind, encoders))]
        recipe = Recipe(
            path=self.path,
            output=self.folder(variant, seed),
            preset=self.preset,
            seed=seed,
            train_clips=self.train_clips,
            validation_clips=0,
            lanes=tuple(((stage,),) for stage in needed),
            model=fields,
            start=self.start,
            features=self.features(variant),
            images=None if self.selects_as_before(variant) else self.start / "features",
        )
        try:
            recipe.config()
        except (TypeError, ValueError) as error:
            raise RecipeError(f"{self.path}, variant {variant}: {error}") from None
        return recipe

    def folder(self, variant: str, seed: int) -> Path:
        """Where one run leaves everything."""
        return self.output / variant / f"seed-{seed}"

    def selects_as_before(self, variant: str) -> bool:
        """Whether the features that the built-in model was trained on serve the variant."""
        return not self.selection(variant)

    def selection(self, variant: str) -> dict[str, Any]:
        """The fields of a variant that decide which frames the video encoder sees, and how."""
        fields = self.variants[variant]
        return {name: fields[name] for name in SELECTION_FIELDS if name in fields}

    def features(self, variant: str) -> Path:
        """Where the training clips' features of a variant lie; alike for equal selections."""
        if self.selects_as_before(variant):
            return self.start / "features"
        return self.output / "features" / selection_name(self.selection(variant))


def selection_name(selection: Mapping[str, Any]) -> str:
    """A folder's name for a selection, e.g. ``uniform-8-2``."""
    return "-".join(str(selection[name]) for name in SELECTION_FIELDS if name in selection)


def load_ablation(path: str | Path) -> Ablation:
    """Read an ablation; raises `RecipeError` naming the file and the field."""
    path = Path(path)
    raw = read_yaml(path)
    for name in FIELDS:
        if name not in raw:
            raise RecipeError(f"{path} lacks the field {name!r}.")
    unknown = sorted(set(raw) - set(FIELDS))
    if unknown:
        raise RecipeError(
            f"{path} has the unknown field {unknown[0]!r}; known: {', '.join(FIELDS)}."
        )
    ablation = Ablation(
        path=path,
        output=Path(raw["output"]),
        start=Path(raw["start"]),
        preset=raw["preset"],
        seeds=tuple(int(seed) for seed in raw["seeds"]),
        train_clips=int(raw["train_clips"]),
        test_clips=int(raw["test_clips"]),
        stages=tuple(load_stage(path.parent / name) for name in raw["stages"]),
        variants={name: fields or {} for name, fields in raw["variants"].items()},
    )
    for variant in ablation.variants:
        ablation.recipe(variant, 0)
    return ablation
