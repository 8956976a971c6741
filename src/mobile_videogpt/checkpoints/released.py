"""The released ``config.json`` and ours, translated both ways.

The released file describes the language model and names the encoders; sizes of everything else
follow from the tensors' shapes. What only we know (selection, layouts, frame counts) is written
beside it under ``mobile_videogpt`` and read back from there.
"""

import math
from collections.abc import Mapping
from typing import Any

from transformers import CLIPVisionConfig, Qwen2Config

from mobile_videogpt.checkpoints.errors import CheckpointError
from mobile_videogpt.checkpoints.files import LazyTensor
from mobile_videogpt.config import CLIP_B16, MobileVideoGPTConfig, VideoMambaConfig

MODEL_TYPE = "MobileVideoGPT_qwen"
CLIP_ID = "openai/clip-vit-base-patch16"
VIDEOMAMBA_ID = "OpenGVLab/VideoMamba/videomamba_m16_25M_f8_res224.pth"
OWN_FIELDS = "mobile_videogpt"

_TEXT_FIELDS = (
    "vocab_size hidden_size intermediate_size num_hidden_layers num_attention_heads "
    "num_key_value_heads hidden_act max_position_embeddings initializer_range rms_norm_eps "
    "use_cache tie_word_embeddings use_sliding_window sliding_window max_window_layers "
    "attention_dropout bos_token_id eos_token_id"
).split()
_TOP_FIELDS = (
    "num_frames frames_per_chunk frames_kept_per_chunk frame_selection select_largest "
    "image_token_grid video_pool_grid video_token_grid video_token_layout video_token_id "
    "pad_token_id image_mean image_std image_interpolation image_resize video_mean video_std "
    "video_interpolation"
).split()


def is_released_config(raw: Mapping[str, Any]) -> bool:
    """Whether a ``config.json`` is of the released layout."""
    return raw.get("model_type") == MODEL_TYPE or "mm_vision_tower" in raw


def config_from_released(
    raw: Mapping[str, Any], tensors: Mapping[str, LazyTensor]
) -> MobileVideoGPTConfig:
    """Build our configuration.

    Args:
        raw: the released ``config.json``.
        tensors: the checkpoint's tensors under our names; their shapes decide.

    Raises:
        CheckpointError: for a projector or shapes that we do not have.
    """
    own = dict(raw.get(OWN_FIELDS, {}))
    for field in ("mm_projector_type", "image_mm_projector_type"):
        if not str(raw.get(field, "linear")).startswith("etp"):
            raise CheckpointError(
                f"{field} is {raw.get(field, 'linear')!r} in config.json, but only 'etp' models "
                "can be loaded from the released layout."
            )
    return MobileVideoGPTConfig(
        text_config=_text_config(raw, tensors),
        video_config=own.get("video_config") or video_config_from_shapes(tensors),
        image_config=own.get("image_config") or image_config_from_shapes(tensors),
        image_feature_layer=raw.get("mm_vision_select_layer", -2),
        **{field: own[field] for field in _TOP_FIELDS if field in own},
    )


def config_to_released(config: MobileVideoGPTConfig, dtype: str) -> dict[str, Any]:
    """Return a released ``config.json`` that also carries our own fields.

    Raises:
        CheckpointError: for the MLP projector, which the released layout has no names for.
    """
    if config.projector_type != "etp":
        raise CheckpointError(
            f"projector_type is {config.projector_type!r}, but the released layout has tensor "
            "names for 'etp' only; keep our layout."
        )
    text = config.text_config.to_dict()
    own = config.to_dict()
    return {
        "architectures": ["MobileVideoGPTQwenForCausalLM"],
        "model_type": MODEL_TYPE,
        **{field: text[field] for field in _TEXT_FIELDS if field in text},
        "rope_theta": config.text_config.rope_parameters["rope_theta"],
        "rope_scaling": None,
        "mm_vision_tower": VIDEOMAMBA_ID,
        "image_mm_vision_tower": CLIP_ID,
        "mm_projector_type": "etp",
        "image_mm_projector_type": "etp",
        "mm_hidden_size": config.image_config.hidden_size,
        "image_mm_hidden_size": config.image_config.hidden_size,
        "mm_vision_select_layer": config.image_feature_layer,
        "mm_vision_select_feature": "patch",
        "mm_use_im_start_end": False,
        "mm_use_im_patch_token": False,
        "image_aspect_ratio": "pad",
        "use_mm_proj": True,
        "torch_dtype": dtype,
        OWN_FIELDS: {
            **{field: own[field] for field in _TOP_FIELDS},
            "image_config": own["image_config"],
            "video_config": own["video_config"],
        },
    }


def _text_config(raw: Mapping[str, Any], tensors: Mapping[str, LazyTensor]) -> Qwen2Config:
    fields = {field: raw[field] for field in _TEXT_FIELDS if field in raw}
    fields.setdefault("tie_word_embeddings", True)
    fields.setdefault("eos_token_id", 151645)
    # The row count is the file's: the released loader may have resized it before saving.
    embeddings = tensors.get("language_model.model.embed_tokens.weight")
    if embeddings is not None:
        fields["vocab_size"] = embeddings.shape[0]
    rope = raw.get("rope_parameters") or {"rope_type": "default"}
    theta = raw.get("rope_theta", rope.get("rope_theta", 1_000_000.0))
    return Qwen2Config(**fields, rope_parameters={**rope, "rope_theta": theta})


def video_config_from_shapes(tensors: Mapping[str, LazyTensor]) -> VideoMambaConfig:
    """Read VideoMamba's sizes off its tensors; VideoMamba-M if there are none."""
    prefix = "video_encoder."
    shapes = {n.removeprefix(prefix): t.shape for n, t in tensors.items() if n.startswith(prefix)}
    mixer = "layers.0.mixer."
    try:
        hidden, channels, temporal_kernel, patch, _ = shapes["embeddings.patch_embedding.weight"]
        inner, state = shapes[mixer + "forward_branch.A_log"]
        return VideoMambaConfig(
            hidden_size=hidden,
            num_channels=channels,
            temporal_kernel=temporal_kernel,
            patch_size=patch,
            image_size=patch * math.isqrt(shapes["embeddings.position_embedding"][1] - 1),
            num_frames=shapes["embeddings.temporal_embedding"][1],
            state_size=state,
            expand=inner // hidden,
            conv_kernel=shapes[mixer + "forward_branch.conv1d.weight"][-1],
            dt_rank=shapes[mixer + "forward_branch.dt_proj.weight"][-1],
            num_hidden_layers=_count_layers(shapes, "layers."),
        )
    except (KeyError, IndexError, ValueError):  # absent or damaged: the strict load will name it
        return VideoMambaConfig()


def image_config_from_shapes(tensors: Mapping[str, LazyTensor]) -> CLIPVisionConfig:
    """Read CLIP's sizes off its tensors; CLIP-B/16 if there are none. Heads are 64 wide."""
    prefix = "image_encoder."
    shapes = {n.removeprefix(prefix): t.shape for n, t in tensors.items() if n.startswith(prefix)}
    try:
        hidden, channels, patch, _ = shapes["embeddings.patch_embedding.weight"]
        return CLIPVisionConfig(
            hidden_size=hidden,
            num_channels=channels,
            patch_size=patch,
            image_size=patch * math.isqrt(shapes["embeddings.position_embedding.weight"][0] - 1),
            intermediate_size=shapes["encoder.layers.0.mlp.fc1.weight"][0],
            num_hidden_layers=_count_layers(shapes, "encoder.layers."),
            num_attention_heads=max(1, hidden // 64),
        )
    except (KeyError, IndexError, ValueError):
        return CLIPVisionConfig(**CLIP_B16)


def _count_layers(names: Mapping[str, Any], prefix: str) -> int:
    return 1 + max(int(n[len(prefix) :].split(".")[0]) for n in names if n.startswith(prefix))
