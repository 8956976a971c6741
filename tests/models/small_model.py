"""The whole model at miniature size, and what it is asked."""

import torch

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration


def tiny_config(**options) -> MobileVideoGPTConfig:
    """Two layers of everything, so that every test takes a fraction of a second."""
    return MobileVideoGPTConfig(
        **{
            "image_config": {
                "image_size": 16,
                "patch_size": 4,
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 3,
                "num_attention_heads": 2,
            },
            "video_config": {
                "image_size": 16,
                "patch_size": 4,
                "hidden_size": 16,
                "num_hidden_layers": 2,
                "state_size": 4,
            },
            "text_config": {
                "vocab_size": 60,
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "tie_word_embeddings": True,
                "eos_token_id": 2,
                "max_position_embeddings": 512,
            },
            "image_token_grid": 2,
            "video_pool_grid": 2,
            "video_token_grid": 2,
            "video_token_id": 5,
            "pad_token_id": 0,
            **options,
        }
    )


def random_model(config: MobileVideoGPTConfig) -> MobileVideoGPTForConditionalGeneration:
    """Random weights large enough that the answer depends on every part of the input."""
    torch.manual_seed(0)
    model = MobileVideoGPTForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in (
            *model.language_model.model.layers.parameters(),
            *model.image_projector.parameters(),
            *model.video_projector.parameters(),
        ):
            parameter.mul_(5 if parameter.dim() > 1 else 1)
    return model


def pixels(videos: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (videos, 16, 3, 16, 16)
    return {
        "image_pixel_values": torch.randn(shape, generator=generator),
        "video_pixel_values": torch.randn(shape, generator=generator),
    }


def prompt(model, videos: int, words: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    visual = torch.full((model.config.num_visual_tokens,), model.config.video_token_id)
    text = torch.randint(6, 60, (words,), generator=generator)
    return torch.cat((torch.tensor([1, 7]), *[visual] * videos, text))


def left_padded(rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    length = max(len(row) for row in rows)
    return {
        "input_ids": torch.stack([torch.nn.functional.pad(r, (length - len(r), 0)) for r in rows]),
        "attention_mask": torch.stack(
            [torch.nn.functional.pad(torch.ones_like(r), (length - len(r), 0)) for r in rows]
        ),
    }


def single(batch: dict[str, torch.Tensor], row: int) -> dict[str, torch.Tensor]:
    """One row of the batch, without padding, with its own video if it has one."""
    ids = batch["input_ids"][row][batch["attention_mask"][row].bool()][None]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    video = {0: 0, 2: 1}.get(row)
    if video is None:
        return inputs
    return {**inputs, **{k: v[video : video + 1] for k, v in pixels(2).items()}}
