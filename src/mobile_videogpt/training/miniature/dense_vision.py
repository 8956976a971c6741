"""Stage 0, encoders: learn to see MovingShapes from dense labels.

Not in the paper, which starts from OpenAI's CLIP and OpenGVLab's VideoMamba-M: no encoders of this
size are to be had. Linear heads on the patch features say what each patch shows; the heads are
thrown away afterwards, so what they need must stand in the features, where a projector can read it.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers import CLIPVisionModel

from ...config import MobileVideoGPTConfig
from ...models.videomamba import VideoMambaModel
from ...synthetic.labels import CLIP_ATTRIBUTES, FRAME_ATTRIBUTES, clip_attributes
from ...synthetic.world import make_clip
from .clips import ClipCache, normalise

NOISE = 0.15  # of the normalised pixels, scaled by a random factor for each clip


# Motion is what the video encoder is for, and what it learns last: without these weights the easy
# attributes fill its features first. Velocities (frame sides a clip) are small numbers.
VIDEO_VALUE_WEIGHT, VELOCITY_SCALE = 3.0, 4.0
ATTRIBUTE_WEIGHTS = {
    "motion": 2.0,
    "first": 3.0,
    "second": 3.0,
    "bounces": 2.0,
    "event": 2.0,
    "partner_color": 0.3,
    "partner_shape": 0.3,
}


class DenseHeads(nn.Module):
    """Linear read-outs of patch features, and the loss that trains what is underneath.

    Returned accuracies are over patches that show an object.
    """

    def __init__(
        self,
        width: int,
        classes: dict[str, int],
        num_values: int,
        value_weight: float = 1.0,
        attribute_weights: Mapping[str, float] | None = None,
        class_weights: Mapping[str, torch.Tensor] | None = None,
    ) -> None:
        super().__init__()
        self.class_weights = class_weights or {}
        self.classes = classes
        self.value_weight = value_weight
        table = {**ATTRIBUTE_WEIGHTS, **(attribute_weights or {})}
        self.weights = [table.get(name, 1.0) for name in classes]
        self.num_values = num_values
        self.read = nn.Linear(width, sum(classes.values()) + num_values + 1)

    def forward(
        self,
        features: torch.Tensor,
        targets: torch.Tensor,
        values: torch.Tensor,
        is_object: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        """(..., D) features, (..., attributes) int, (..., values) float, (...) bool."""
        out = self.read(features)
        presence, values_out, *logits = out.split([1, self.num_values, *self.classes.values()], -1)
        loss = F.binary_cross_entropy_with_logits(presence[..., 0], is_object.float())
        loss = loss + self.value_weight * F.smooth_l1_loss(values_out[is_object], values[is_object])
        correct = []
        for i, (name, score) in enumerate(zip(self.classes, logits, strict=True)):
            target = targets[..., i][is_object].long()
            rarity = self.class_weights.get(name)
            rarity = None if rarity is None else rarity.to(score)
            loss = loss + self.weights[i] * F.cross_entropy(score[is_object], target, rarity)
            correct.append((score[is_object].argmax(-1) == target).float().mean())
        return {"loss": loss, "correct": torch.stack(correct).detach()}


class _DensePretraining(nn.Module, ABC):
    """An encoder with heads for what its patch features show."""

    encoder: nn.Module
    heads: DenseHeads

    @abstractmethod
    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """The patch features of a batch of pixels."""

    def forward(
        self,
        pixels: torch.Tensor,
        targets: torch.Tensor,
        values: torch.Tensor,
        is_object: torch.Tensor,
    ) -> dict[str, torch.Tensor]:
        return self.heads(self.features(pixels), targets, values, is_object)


class ImagePretraining(_DensePretraining):
    """CLIP's vision tower, with heads for colour, shape, size and offset to the centre."""

    def __init__(self, config: MobileVideoGPTConfig) -> None:
        super().__init__()
        self.feature_layer = config.image_feature_layer
        self.encoder = CLIPVisionModel(config.image_config)
        self.heads = DenseHeads(config.image_config.hidden_size, FRAME_ATTRIBUTES, 2)

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, N, D) of the layer that the model takes, class token dropped."""
        states = self.encoder(pixels, output_hidden_states=True).hidden_states
        return states[self.feature_layer][:, 1:]


class VideoPretraining(_DensePretraining):
    """VideoMamba with heads for everything that an object is and does in the whole clip."""

    def __init__(
        self, config: MobileVideoGPTConfig, attribute_weights: Mapping[str, float] | None = None
    ) -> None:
        super().__init__()
        self.encoder = VideoMambaModel(config.video_config)
        classes = {**FRAME_ATTRIBUTES, **CLIP_ATTRIBUTES}
        width = config.video_config.hidden_size
        self.heads = DenseHeads(
            width, classes, 4, VIDEO_VALUE_WEIGHT, attribute_weights, clip_class_weights()
        )

    def features(self, pixels: torch.Tensor) -> torch.Tensor:
        """(B, T * N, D), class token dropped."""
        return self.encoder(pixels).last_hidden_state[:, 1:]


def clip_class_weights(num_clips: int = 500) -> dict[str, torch.Tensor]:
    """Attribute -> loss weight of each class, as the inverse root of how often objects have it.

    Three objects in four change in nothing; unweighted, the encoder learns to say so of all.
    """
    rows = np.concatenate([clip_attributes(make_clip(seed)) for seed in range(num_clips)])
    weights = {}
    for column, (name, count) in enumerate(CLIP_ATTRIBUTES.items()):
        share = np.bincount(rows[:, column], minlength=count) / len(rows)
        rarity = 1 / np.sqrt(np.maximum(share, 1e-3))
        weights[name] = torch.tensor(rarity / (rarity * share).sum(), dtype=torch.float32)
    return weights


class ClipIndex(Dataset[int]):
    """Sample i is a clip number; batches are gathered by the collator in one go."""

    def __init__(self, num_samples: int, num_clips: int, seed: int = 0) -> None:
        self.num_samples, self.num_clips, self.seed = num_samples, num_clips, seed

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, index: int) -> int:
        epoch, place = divmod(index, self.num_clips)
        if epoch != getattr(self, "_epoch", None):  # clip order differs from epoch to epoch
            self._epoch = epoch
            self._order = np.random.default_rng([self.seed, epoch]).permutation(self.num_clips)
        return int(self._order[place])


class ImageCollator:
    """Random frames of the clips with their patch labels."""

    def __init__(self, cache: ClipCache, frames_per_clip: int = 2) -> None:
        self.cache, self.frames_per_clip = cache, frames_per_clip

    def __call__(self, clips: list[int]) -> dict[str, torch.Tensor]:
        rng = np.random.default_rng(clips)
        config = self.cache.config
        which = np.repeat(clips, self.frames_per_clip)
        when = rng.integers(config.num_frames, size=len(which))
        owners = self.cache["owners"][which, when].reshape(len(which), -1).astype(int)
        frame_values = self.cache["frame_values"][which, when]  # (n, objects, 3)
        targets = np.take_along_axis(frame_values, np.maximum(owners, 0)[..., None], axis=1)
        offset = self.cache["offset"][which, when].reshape(len(which), -1, 2)
        pixels = self.cache["image"][which, when]
        return {
            "pixels": normalise(pixels, config.image_mean, config.image_std, NOISE),
            "targets": torch.from_numpy(targets),
            "values": torch.from_numpy(offset.astype(np.float32)),
            "is_object": torch.from_numpy(owners >= 0),
        }


class VideoCollator:
    """Eight frames of each clip, drawn as selection might (half of each chunk), with labels."""

    def __init__(self, cache: ClipCache) -> None:
        self.cache = cache

    def __call__(self, clips: list[int]) -> dict[str, torch.Tensor]:
        cache, config = self.cache, self.cache.config
        rng = np.random.default_rng(clips)
        which = np.array(clips)[:, None]
        kept = draw_kept_frames(config, rng, len(clips))
        owners = cache["owners"][which, kept]
        owners = owners.reshape(*kept.shape, -1).astype(int)  # (B, K, N)
        safe = np.maximum(owners, 0)
        seen = np.take_along_axis(cache["frame_values"][which, kept], safe[..., None], axis=2)
        told = cache["clip_values"][which[..., None], safe]
        velocity = cache["velocity"][which[..., None], safe, kept[..., None]]
        offset = cache["offset"][which, kept].reshape(*owners.shape, 2)
        values = np.concatenate([VELOCITY_SCALE * velocity, offset], axis=-1).astype(np.float32)
        targets = np.concatenate([seen, told], axis=-1)
        pixels = cache["video"][which, kept]

        def flat(array: np.ndarray) -> torch.Tensor:
            return torch.from_numpy(array.reshape(len(clips), -1, *array.shape[3:]))

        return {
            "pixels": normalise(pixels, config.video_mean, config.video_std, NOISE),
            "targets": flat(targets),
            "values": flat(values),
            "is_object": flat(owners >= 0),
        }


def draw_kept_frames(
    config: MobileVideoGPTConfig, rng: np.random.Generator, count: int
) -> np.ndarray:
    """Random frame numbers (count, K), `frames_kept_per_chunk` of every chunk, ascending."""
    chunk, keep = config.frames_per_chunk, config.frames_kept_per_chunk
    starts = np.arange(0, config.num_frames, chunk)
    order = rng.random((count, len(starts), chunk)).argsort(-1)[..., :keep]
    return (np.sort(order, axis=-1) + starts[:, None]).reshape(count, -1)


def accuracies(
    model: ImagePretraining | VideoPretraining, batches: list[dict[str, Any]]
) -> dict[str, float]:
    """Mean accuracy of each head over the batches."""
    model.eval()
    with torch.no_grad():
        rows = [model(**batch)["correct"] for batch in batches]
    return dict(zip(model.heads.classes, torch.stack(rows).mean(0).tolist(), strict=True))
