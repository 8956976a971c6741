"""Stage 0, language model: learn to reason over MovingShapes before there is anything to see.

Not in the paper, which starts from Qwen2.5: no language model of this size is to be had. Each
visual token is replaced by an embedding of what the clip's script says is there ("scene tokens"),
in the very places where the projected tokens of the encoders will later stand. The scene embedding
is thrown away afterwards; stages 1 and 2 teach the projectors to stand in for it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import Dataset
from transformers import Qwen2Model

from ...config import MobileVideoGPTConfig
from ...synthetic.labels import (
    CLIP_ATTRIBUTES,
    FRAME_ATTRIBUTES,
    MAX_SHAPES,
    clip_attributes,
    frame_attributes,
    patch_owners,
)
from ...synthetic.world import COLORS, SHAPES, SIZES, Clip, make_clip
from ..shared_prefix import collate_shared
from .curriculum import draw_hidden_branch, draw_questions
from .packing import PackedRow, QuestionPacker

# The word that stands for each class of each attribute, in the order of `synthetic.labels`; "" says
# nothing. A scene token is the sum of its words' own embeddings, so that what a question names can
# be found by likeness and what is found can be said.
WORDS_OF = {
    "color": COLORS,
    "shape": SHAPES,
    "size": SIZES,
    "motion": ("still", "moves", "bounces", "circles", "enters", "leaves", "then", "pushed"),
    "first": ("", "left", "right", "up", "down"),
    "second": ("", "left", "right", "up", "down"),
    "bounces": ("zero", "one", "two", "three"),
    "event": ("", "changes", "grows", "shrinks", "appears", "vanishes"),
    "becomes": ("", *COLORS),
    "touch": ("", "touches", "touched"),
    "partner_color": ("", *COLORS),
    "partner_shape": ("", *SHAPES),
}


FORGET = 0.1  # chance that an attribute of an object is dropped from the video tokens


class SceneEmbedding(nn.Module):
    """What an ideal encoder and projector would say of each visual token.

    An object is the sum of the embeddings of its words, each turned a little by its attribute (so
    that the colour it has and the colour it gets differ), and a part that only the whole
    combination has: a mere sum of "red" and "star" is as like a red circle beside a blue star. A
    token is the mean over its patches.
    """

    def __init__(
        self, attributes: Sequence[str], word_ids: Callable[[str], int], hidden: int
    ) -> None:
        super().__init__()
        table = [[word_ids(w) if w else -1 for w in WORDS_OF[name]] for name in attributes]
        widest = max(map(len, table))
        padded = [row + [-1] * (widest - len(row)) for row in table]
        self.register_buffer("table", torch.tensor(padded), persistent=False)
        self.turn = nn.Parameter(torch.zeros(len(table), hidden, hidden))
        self.gain = nn.Parameter(torch.tensor(4.0))
        last = nn.Linear(2 * hidden, hidden)
        nn.init.zeros_(last.weight)  # look-ups by a single word come first
        nn.init.zeros_(last.bias)
        self.combine = nn.Sequential(nn.Linear(hidden, 2 * hidden), nn.GELU(), last)
        self.empty = nn.Parameter(torch.zeros(hidden))

    def forward(
        self,
        values: torch.Tensor,
        weights: torch.Tensor,
        words: torch.Tensor,
        forget: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Values (B, T, objects, attributes), weights (B, T, N, objects) -> (B, T, N, E).

        `words` (V, E) is the language model's own embedding table.

        `forget` (attributes,) is the chance that an object's attribute is dropped from all its
        tokens: real encoders miss things too.
        """
        table: torch.Tensor = self.table  # type: ignore[assignment]
        vectors = words[table.clamp_min(0)] * (table >= 0)[..., None]  # (attributes, classes, E)
        vectors = vectors + vectors @ self.turn
        chosen = torch.arange(len(table), device=values.device)
        said = vectors[chosen, values.long()]  # (B, T, objects, attributes, E)
        if forget is not None:
            draw = torch.rand(values.shape[0], 1, *values.shape[2:], device=said.device)
            said = said * (draw >= forget)[..., None]
        objects = said.sum(-2) * self.gain
        objects = objects + self.combine(objects)
        free = 1.0 - weights.sum(-1, keepdim=True)
        return weights @ objects + free * self.empty


class SceneLanguageModel(nn.Module):
    """The language model behind two scene embeddings, one for each branch."""

    def __init__(
        self,
        config: MobileVideoGPTConfig,
        word_id: Callable[[str], int],
        forget: Mapping[str, float] | None = None,
    ) -> None:
        super().__init__()
        self.config = config
        self.language_model = Qwen2Model(config.text_config)  # the head is its embedding, tied
        hidden = config.text_config.hidden_size
        seen, told = list(FRAME_ATTRIBUTES), list(CLIP_ATTRIBUTES)
        self.image_scene = SceneEmbedding(seen, word_id, hidden)
        self.video_scene = SceneEmbedding([*seen, *told], word_id, hidden)
        chances = [(forget or {}).get(name, FORGET) for name in (*seen, *told)]
        self.register_buffer("forget", torch.tensor(chances), persistent=False)

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
        words = self.language_model.embed_tokens.weight
        forget: torch.Tensor | None = self.forget if self.training else None  # type: ignore[assignment]
        image = self.image_scene(frame_values, image_weights, words)
        rows = torch.arange(len(kept))[:, None]
        told = clip_values[:, None].expand(-1, kept.shape[1], -1, -1)
        values = torch.cat([frame_values[rows, kept], told], dim=-1)
        video = self.video_scene(values, video_weights, words, forget)
        return torch.cat([image.flatten(1, 2), video.flatten(1, 2)], dim=1)


class SceneDataset(Dataset[dict[str, Any]]):
    """Sample i is clip i of the split with freshly drawn questions; nothing is rendered."""

    def __init__(
        self,
        config: MobileVideoGPTConfig,
        packer: QuestionPacker,
        num_samples: int,
        questions_per_clip: int,
        split: str = "train",
        hide: float = 0.0,
        per_family: Mapping[str, int] | None = None,
    ) -> None:
        self.config = config
        self.hide, self.per_family = hide, per_family
        self.packer = packer
        self.num_samples = num_samples
        self.questions_per_clip = questions_per_clip
        self.split = split

    def __len__(self) -> int:
        return self.num_samples

    def __getitem__(self, index: int) -> dict[str, Any]:
        clip = make_clip(index, self.split)
        rng = np.random.default_rng([index, 0, 1])
        questions = draw_questions(clip, rng, self.questions_per_clip, per_family=self.per_family)
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
    return {**collate_shared(rows, pad_id), **batch}
