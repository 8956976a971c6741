"""What the fixtures write: the configuration of a tiny model and files beside it."""

import json
from pathlib import Path

import torch
from transformers import AutoTokenizer

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.processor import MobileVideoGPTProcessor


def tiny_config() -> MobileVideoGPTConfig:
    return MobileVideoGPTConfig(
        image_config={
            "image_size": 16,
            "patch_size": 8,
            "hidden_size": 64,
            "intermediate_size": 32,
            "num_hidden_layers": 2,
            "num_attention_heads": 1,
        },
        video_config={
            "image_size": 16,
            "patch_size": 8,
            "hidden_size": 16,
            "num_hidden_layers": 2,
            "state_size": 4,
        },
        text_config={
            "vocab_size": 70,
            "hidden_size": 32,
            "intermediate_size": 48,
            "num_hidden_layers": 2,
            "num_attention_heads": 4,
            "num_key_value_heads": 2,
            "tie_word_embeddings": True,
            "eos_token_id": 2,
        },
        video_token_id=5,
        pad_token_id=0,
    )


def qwen_sized_model(
    tokenizer_folder: Path,
) -> tuple[MobileVideoGPTForConditionalGeneration, MobileVideoGPTProcessor]:
    """A tiny model with Qwen2.5's tokenizer and vocabulary."""
    config = tiny_config()
    text = {**config.text_config.to_dict(), "vocab_size": 151936, "eos_token_id": 151645}
    config = MobileVideoGPTConfig(
        image_config=config.image_config.to_dict(),
        video_config=config.video_config.to_dict(),
        text_config=text,
    )
    torch.manual_seed(0)
    model = MobileVideoGPTForConditionalGeneration(config).eval()
    tokenizer = AutoTokenizer.from_pretrained(tokenizer_folder)
    return model, MobileVideoGPTProcessor.from_config(config, tokenizer)


def released_config(config: MobileVideoGPTConfig, image_tower: str) -> dict:
    text = config.text_config
    return {
        "architectures": ["MobileVideoGPTQwenForCausalLM"],
        "model_type": "MobileVideoGPT_qwen",
        "hidden_act": "silu",
        "hidden_size": text.hidden_size,
        "intermediate_size": text.intermediate_size,
        "num_attention_heads": text.num_attention_heads,
        "num_hidden_layers": text.num_hidden_layers,
        "num_key_value_heads": text.num_key_value_heads,
        "max_position_embeddings": 32768,
        "rms_norm_eps": 1e-6,
        "rope_scaling": None,
        "rope_theta": text.rope_parameters["rope_theta"],
        "tie_word_embeddings": True,
        "vocab_size": 151936,
        "image_mm_hidden_size": 768,
        "image_mm_projector_type": "etp",
        "image_mm_vision_tower": image_tower,
        "mm_hidden_size": 768,
        "mm_projector_type": "etp",
        "mm_vision_select_feature": "patch",
        "mm_vision_select_layer": -2,
        "mm_vision_tower": "OpenGVLab/VideoMamba/videomamba_m16_25M_f8_res224.pth",
        "torch_dtype": "float16",
    }


def save_clip(model: MobileVideoGPTForConditionalGeneration, folder: Path) -> None:
    """A whole CLIP as the hub holds it, with a text tower that is none of our business."""
    folder.mkdir()
    state = {f"vision_model.{n}": t for n, t in model.image_encoder.state_dict().items()}
    state["vision_model.embeddings.position_ids"] = torch.arange(5)[None]
    state["text_model.embeddings.position_embedding.weight"] = torch.randn(7, 8)
    state["logit_scale"] = torch.tensor(2.6)
    torch.save(state, folder / "pytorch_model.bin")
    vision = model.config.image_config.to_dict()
    write_json(folder / "config.json", {"model_type": "clip", "vision_config": vision})


def write_json(path: Path, content: dict) -> None:
    path.write_text(json.dumps(content), encoding="utf-8")


def read_json(path: Path) -> dict:
    return json.loads(path.read_text(encoding="utf-8"))
