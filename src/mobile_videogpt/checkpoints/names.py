"""Tensor names, released <-> ours: one table, read in both directions.

``{n}`` stands for a number and ``{*}`` for whatever is left. Rows are tried from the top.
"""

import re
from collections.abc import Mapping
from typing import TypeVar

from mobile_videogpt.checkpoints.errors import CheckpointError

T = TypeVar("T")

_MAMBA = "model.vision_tower.vision_encoder."
_MIXER = _MAMBA + "layers.{n}.mixer."
_OUR_MIXER = "video_encoder.layers.{n}.mixer."

TABLE: tuple[tuple[str, str], ...] = (
    # Image encoder (CLIP).
    ("model.image_vision_tower.vision_tower.vision_model.{*}", "image_encoder.{*}"),
    # Video encoder (VideoMamba). The released files also hold the decoder of its pretraining.
    (_MAMBA + "cls_token", "video_encoder.embeddings.class_token"),
    (_MAMBA + "pos_embed", "video_encoder.embeddings.position_embedding"),
    (_MAMBA + "temporal_pos_embedding", "video_encoder.embeddings.temporal_embedding"),
    (_MAMBA + "patch_embed.proj.{*}", "video_encoder.embeddings.patch_embedding.{*}"),
    (_MIXER + "A_log", _OUR_MIXER + "forward_branch.A_log"),
    (_MIXER + "A_b_log", _OUR_MIXER + "backward_branch.A_log"),
    (_MIXER + "D", _OUR_MIXER + "forward_branch.D"),
    (_MIXER + "D_b", _OUR_MIXER + "backward_branch.D"),
    (_MIXER + "conv1d.{*}", _OUR_MIXER + "forward_branch.conv1d.{*}"),
    (_MIXER + "conv1d_b.{*}", _OUR_MIXER + "backward_branch.conv1d.{*}"),
    (_MIXER + "x_proj.{*}", _OUR_MIXER + "forward_branch.x_proj.{*}"),
    (_MIXER + "x_proj_b.{*}", _OUR_MIXER + "backward_branch.x_proj.{*}"),
    (_MIXER + "dt_proj.{*}", _OUR_MIXER + "forward_branch.dt_proj.{*}"),
    (_MIXER + "dt_proj_b.{*}", _OUR_MIXER + "backward_branch.dt_proj.{*}"),
    (_MIXER + "in_proj.{*}", _OUR_MIXER + "in_proj.{*}"),
    (_MIXER + "out_proj.{*}", _OUR_MIXER + "out_proj.{*}"),
    (_MAMBA + "layers.{n}.norm.{*}", "video_encoder.layers.{n}.norm.{*}"),
    (_MAMBA + "norm.{*}", "video_encoder.norm.{*}"),
    (_MAMBA + "clip_decoder.{*}", "video_encoder.clip_decoder.{*}"),
    # Projectors.
    ("model.image_mm_projector.mlp.mlp.{*}", "image_projector.ffn.{*}"),
    ("model.image_mm_projector.peg.peg.0.{*}", "image_projector.position_encoder.{*}"),
    ("model.mm_projector.mlp.mlp.{*}", "video_projector.ffn.{*}"),
    ("model.mm_projector.peg.peg.0.{*}", "video_projector.position_encoder.{*}"),
    # Language model (Qwen2.5); LoRA matrices keep their ending.
    ("model.embed_tokens.{*}", "language_model.model.embed_tokens.{*}"),
    ("model.layers.{n}.{*}", "language_model.model.layers.{n}.{*}"),
    ("model.norm.{*}", "language_model.model.norm.{*}"),
    ("lm_head.{*}", "language_model.lm_head.{*}"),
)

# Wrappers of training, and the towers' and projectors' own files, which lack the outer name.
_ADAPTER_PREFIX = "base_model.model."
_PART_PREFIXES = {
    "vision_encoder.": "model.vision_tower.",
    "vision_tower.vision_encoder.": "model.",
    "vision_tower.vision_model.": "model.image_vision_tower.",
    "image_vision_tower.": "model.",
    "mm_projector.": "model.",
    "image_mm_projector.": "model.",
}


def from_released(state_dict: Mapping[str, T]) -> dict[str, T]:
    """Rename the tensors of a released checkpoint to our names; the values are passed through.

    Whole or partial dictionaries; also what the released training writes (``base_model.model.``
    in front), and the files of a single tower or projector. The decoder of VideoMamba's
    pretraining keeps a name, ``video_encoder.clip_decoder``, although no model has it: our models
    skip it when they load.

    Raises:
        CheckpointError: naming tensors that the table does not know.
    """
    return _rename(state_dict, _FROM_RELEASED, "released")


def to_released(state_dict: Mapping[str, T]) -> dict[str, T]:
    """Rename our tensors to the released names; the reverse of ``from_released``.

    Raises:
        CheckpointError: naming tensors that the table does not know.
    """
    return _rename(state_dict, _TO_RELEASED, "our")


def _rename(
    state_dict: Mapping[str, T], rules: list[tuple[re.Pattern[str], str]], layout: str
) -> dict[str, T]:
    renamed = {}
    unknown = []
    for name, value in state_dict.items():
        new_name = _apply(_full_name(name) if layout == "released" else name, rules)
        if new_name is None:
            unknown.append(name)
        else:
            renamed[new_name] = value
    if unknown:
        listed = ", ".join(sorted(unknown)[:3]) + (" ..." if len(unknown) > 3 else "")
        raise CheckpointError(
            f"{len(unknown)} tensor names are not of the {layout} layout ({listed}); "
            "check that the file belongs to a Mobile-VideoGPT model."
        )
    return renamed


def _full_name(name: str) -> str:
    name = name.removeprefix(_ADAPTER_PREFIX)
    for prefix, missing in _PART_PREFIXES.items():
        if name.startswith(prefix):
            return missing + name
    return name


def _apply(name: str, rules: list[tuple[re.Pattern[str], str]]) -> str | None:
    for pattern, template in rules:
        if match := pattern.fullmatch(name):
            return match.expand(template)
    return None


def _compile(source: str, target: str) -> tuple[re.Pattern[str], str]:
    pattern = re.escape(source).replace(r"\{n\}", r"(?P<n>\d+)").replace(r"\{\*\}", "(?P<rest>.+)")
    return re.compile(pattern), target.replace("{n}", r"\g<n>").replace("{*}", r"\g<rest>")


_FROM_RELEASED = [_compile(released, ours) for released, ours in TABLE]
_TO_RELEASED = [_compile(ours, released) for released, ours in TABLE]
