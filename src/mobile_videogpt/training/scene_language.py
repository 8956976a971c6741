"""Stage 0, language model: learn to reason over MovingShapes before there is anything to see.

Not in the paper, which starts from Qwen2.5: no language model of this size is to be had. Each visual
token is replaced by an embedding of what the clip's script says is there ("scene tokens"), in the
very places where the projected tokens of the encoders will later stand. The scene embedding is
thrown away afterwards; stages 1 and 2 teach the projectors to stand in for it.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers import Qwen2Model

from ..config import MobileVideoGPTConfig
from ..synthetic.labels import (
    CLIP_ATTRIBUTES,
    FRAME_ATTRIBUTES,
    MAX_SHAPES,
    clip_attributes,
    frame_attributes,
    patch_owners,
)
from ..synthetic.world import Clip, make_clip
from .curriculum import draw_hidden_branch, draw_questions
from .packing import PackedRow, QuestionPacker, collate_packed


class SceneEmbedding(nn.Module):
    """What an ideal encoder and projector would say of each visual token.

    An object is one vector (an MLP of its attributes); a token is the mean over its patches.
    """

    def __init__(self, num_features: int, hidden_size: int) -> None:
        super().__init__()
        self.mlp = nn.Sequential(
            nn.Linear(num_features, hidden_size), nn.GELU(), nn.Linear(hidden_size, hidden_size)
        )
        self.empty = nn.Parameter(torch.zeros(hidden_size))

    def forward(self, attributes: torch.Tensor, weights: torch.Tensor) -> torch.Tensor:
        """(B, T, objects, features), (B, T, N, objects) -> (B, T, N, E)."""
        objects = self.mlp(attributes)
        free = 1.0 - weights.sum(-1, keepdim=True)
        return weights @ objects + free * self.empty


class SceneLanguageModel(nn.Module):
    """The language model behind two scene embeddings, one for each branch."""

    def __init__(self, config: MobileVideoGPTConfig, dropout: float = 0.1) -> None:
        super().__init__()
        self.config = config
        self.dropout = dropout
        self.language_model = Qwen2Model(config.text_config)  # the head is its embedding, tied
        hidden = config.text_config.hidden_size
        frame = sum(FRAME_ATTRIBUTES.values())
        self.image_scene = SceneEmbedding(frame, hidden)
        self.video_scene = SceneEmbedding(frame + sum(CLIP_ATTRIBUTES.values()), hidden)

    def forward(
        self,
        input_ids: torch.Tensor,
        labels: torch.Tensor,
        position_ids: torch.Tensor,
        attention_mask: torch.Tensor,
        frame_values: torch.Tensor,
        clip_values: torch.Tensor,
        image_weights: torch.Tensor,
        video_weights: torch.Tensor,
        kept: torch.Tensor,
        segments: torch.Tensor | None = None,
    ) -> dict[str, torch.Tensor]:
        """Packed rows plus the script's attributes; see `SceneDataset`."""
        scene = self._scene_tokens(frame_values, clip_values, image_weights, video_weights, kept)
        embeds = self.language_model.get_input_embeddings()(input_ids)
        is_visual = (input_ids == self.config.video_token_id)[..., None]
        embeds = embeds.masked_scatter(is_visual, scene.to(embeds.dtype))
        hidden = self.language_model(
            inputs_embeds=embeds,
            attention_mask=attention_mask,
            position_ids=position_ids,
            use_cache=False,
        ).last_hidden_state
        logits = hidden @ self.language_model.embed_tokens.weight.T
        loss = F.cross_entropy(logits[:, :-1].flatten(0, 1), labels[:, 1:].flatten())
        return {"loss": loss, "logits": logits}

    def _scene_tokens(
        self,
        frame_values: torch.Tensor,
        clip_values: torch.Tensor,
        image_weights: torch.Tensor,
        video_weights: torch.Tensor,
        kept: torch.Tensor,
    ) -> torch.Tensor:
        seen = _encode(frame_values, FRAME_ATTRIBUTES)  # (B, T, objects, features)
        story = self._forget(_groups(clip_values, CLIP_ATTRIBUTES))  # (B, objects, features)
        image = self.image_scene(seen, image_weights)
        rows = torch.arange(len(kept))[:, None]
        told = story[:, None].expand(-1, kept.shape[1], -1, -1)
        video = self.video_scene(torch.cat([seen[rows, kept], told], dim=-1), video_weights)
        return torch.cat([image.flatten(1, 2), video.flatten(1, 2)], dim=1)

    def _forget(self, groups: list[torch.Tensor]) -> torch.Tensor:
        """Drop whole attributes at random: real encoders miss things too."""
        if self.training and self.dropout:
            groups = [
                g * (torch.rand(*g.shape[:-1], 1, device=g.device) >= self.dropout) for g in groups
            ]
        return torch.cat(groups, dim=-1)


def _groups(values: torch.Tensor, classes: dict[str, int]) -> list[torch.Tensor]:
    return [
        F.one_hot(values[..., i].long(), size).float() for i, size in enumerate(classes.values())
    ]


def _encode(values: torch.Tensor, classes: dict[str, int]) -> torch.Tensor:
    return torch.cat(_groups(values, classes), dim=-1)


class SceneDataset(Dataset[dict[str, Any]]):
    """Sample i is clip i of the split with freshly drawn questions; nothing is rendered."""

    def __init__(
        self,
        config: MobileVideoGPTConfig,
        packer: QuestionPacker,
        num_samples: int,
        questions_per_clip: int,
        first_clip: int = 0,
        split: str = "train",
        hide: float = 0.0,
    ) -> None:
        self.config = config
        self.hide = hide
        self.packer = packer
        self.num_samples = num_samples
        self.questions_per_clip = questions_per_clip
        self.first_clip = first_clip
        self.split = split

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip = make_clip(self.first_clip + index, self.split)
        rng = np.random.default_rng([index, self.first_clip, 1])
        questions = draw_questions(clip, rng, self.questions_per_clip)
        hidden = draw_hidden_branch(self.config, rng, self.hide, self.hide)
        row = self.packer.pack(questions, hidden)
        return {"row": row, **scene_arrays(clip, self.config, rng)}


def scene_arrays(
    clip: Clip, config: MobileVideoGPTConfig, rng: np.random.Generator
) -> dict[str, torch.Tensor]:
    """The script as tensors; the kept frames are drawn at random, half of each chunk."""
    times = np.arange(config.num_frames) / config.num_frames
    image = config.image_config
    owners = patch_owners(clip, times, image.image_size // image.patch_size)
    chunk, keep = config.frames_per_chunk, config.frames_kept_per_chunk
    kept = np.concatenate(
        [start + np.sort(rng.permutation(chunk)[:keep]) for start in range(0, len(times), chunk)]
    )
    padding = ((0, MAX_SHAPES - len(clip.shapes)), (0, 0))
    frame_values = np.pad(frame_attributes(clip, times), (padding[0], (0, 0), (0, 0)))
    return {
        "frame_values": torch.from_numpy(frame_values.transpose(1, 0, 2)),
        "clip_values": torch.from_numpy(np.pad(clip_attributes(clip), padding)),
        "image_weights": _cell_weights(owners, config.image_token_grid),
        "video_weights": _cell_weights(owners[kept], config.video_token_grid),
        "kept": torch.from_numpy(kept),
    }


def _cell_weights(owners: np.ndarray, grid: int) -> torch.Tensor:
    """Share of each cell's patches that each object owns: (T, grid * grid, MAX_SHAPES)."""
    is_owner = owners[..., None] == np.arange(MAX_SHAPES)
    frames, side = owners.shape[:2]
    block = side // grid
    cells = is_owner.reshape(frames, grid, block, grid, block, MAX_SHAPES).mean(axis=(2, 4))
    return torch.from_numpy(cells.reshape(frames, grid * grid, MAX_SHAPES).astype(np.float32))


def collate_scenes(samples: list[dict[str, Any]], pad_id: int) -> dict[str, torch.Tensor]:
    """Batch `SceneDataset` samples."""
    rows: list[PackedRow] = [sample.pop("row") for sample in samples]
    batch = {key: torch.stack([sample[key] for sample in samples]) for key in samples[0]}
    return {**collate_packed(rows, pad_id), **batch}
