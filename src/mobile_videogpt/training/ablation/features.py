"""The frozen encoders' features, computed once for every way to select frames.

The image encoder sees all frames whatever is selected, so its features are computed once; training
clips and their features are those of the run that the ablation starts from.
"""

from __future__ import annotations

import logging

from ...config import MobileVideoGPTConfig
from ...models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from ..files import read_done_blocks
from ..miniature.clips import ClipCache
from ..miniature.features import BLOCK, FeatureStore
from ..miniature.instruct import assemble
from ..recipe import RecipeError
from .plan import Ablation, selection_name

logger = logging.getLogger(__name__)
AS_BEFORE = "as-before"  # the folder of the selection that the run to start from made


def prepare_features(ablation: Ablation, workers: int) -> None:
    """Render the test clips and encode what is missing, in `workers` processes.

    Raises `RecipeError` if the run to start from lacks features of the training clips.
    """
    _check_start(ablation)
    first = _first_variant(ablation)
    for done in _unseen_clips(ablation, _config(ablation, first)).render(workers):
        logger.info("rendered %d of %d test clips", done, ablation.test_clips)
    model = assemble(ablation.recipe(first, 0)).eval()
    _encode(_unseen_images(ablation), model, AS_BEFORE, workers)
    for variant in ablation.variants:
        if not ablation.selects_as_before(variant):
            name = selection_name(ablation.selection(variant))
            _encode(training_features(ablation, variant), model, name, workers)
            _encode(unseen_features(ablation, variant), model, name, workers)


def training_features(ablation: Ablation, variant: str) -> FeatureStore:
    """The features of the training clips under a variant's selection."""
    cache = ClipCache(
        ablation.start / "clips" / "train",
        _config(ablation, variant),
        ablation.train_clips,
        "train",
    )
    images = None if ablation.selects_as_before(variant) else ablation.start / "features" / "train"
    return FeatureStore(ablation.features(variant) / "train", cache, images)


def unseen_features(ablation: Ablation, variant: str) -> FeatureStore:
    """The features of the test clips under a variant's selection."""
    shared = _unseen_images(ablation)
    if ablation.selects_as_before(variant):
        return shared
    cache = _unseen_clips(ablation, _config(ablation, variant))
    return FeatureStore(ablation.features(variant) / "test", cache, shared.folder)


def _unseen_images(ablation: Ablation) -> FeatureStore:
    config = MobileVideoGPTConfig.preset(ablation.preset)
    folder = ablation.output / "features" / AS_BEFORE / "test"
    return FeatureStore(folder, _unseen_clips(ablation, config))


def _unseen_clips(ablation: Ablation, config: MobileVideoGPTConfig) -> ClipCache:
    return ClipCache(ablation.output / "clips" / "test", config, ablation.test_clips, "test")


def _config(ablation: Ablation, variant: str) -> MobileVideoGPTConfig:
    """The variant's selection and nothing else: both encoders run, features know no projector."""
    return MobileVideoGPTConfig.preset(ablation.preset, **ablation.selection(variant))


def _first_variant(ablation: Ablation) -> str:
    return next(iter(ablation.variants))


def _encode(
    store: FeatureStore, model: MobileVideoGPTForConditionalGeneration, name: str, workers: int
) -> None:
    for progress in store.encode(model, workers):
        logger.info("features %s, %s, %s", name, store.cache.split, progress)


def _check_start(ablation: Ablation) -> None:
    folder = ablation.start / "features" / "train"
    for branch in ("image", "video"):
        done = read_done_blocks(folder / f"done-{branch}.json")
        if not set(range(0, ablation.train_clips, BLOCK)) <= done:
            raise RecipeError(
                f"{folder} lacks the {branch} features of {ablation.train_clips} clips: train "
                "the built-in model first (mobile-videogpt train configs/moving-shapes.yaml), or "
                "ask for fewer train_clips."
            )
