"""What a chat runs: a checkpoint in the number format that fits the machine, or random weights."""

from __future__ import annotations

import logging
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.engines.devices import pick_dtype
from mobile_videogpt.engines.int8 import quantize_module

if TYPE_CHECKING:
    from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
    from mobile_videogpt.processor import MobileVideoGPTProcessor

    Model = tuple[MobileVideoGPTForConditionalGeneration, MobileVideoGPTProcessor]

logger = logging.getLogger(__name__)

MINIATURE = "moving-shapes"
MINIATURE_NOTICE = (
    "the built-in model `moving-shapes` is a miniature: it knows only synthetic MovingShapes clips "
    "and says nothing useful about other videos"
)


def load_for_chat(name: str, device: torch.device, dtype: str | torch.dtype) -> Model:
    """Load a model in the number format that `dtype` stands for; tensor by tensor where int8.

    Raises:
        CheckpointError: there is no such model, or it cannot be read.
        ValueError: the number format is unknown, or not for this device.
    """
    from mobile_videogpt.checkpoints import load_config, load_model

    number_format = pick_dtype(dtype, device)  # names a wrong one before anything is read
    if dtype == "auto" and device.type == "cpu" and name != MINIATURE:
        from mobile_videogpt.models.parameter_counts import count_parameters

        parameters = count_parameters(load_config(name))["language_model"]
        number_format = pick_dtype(dtype, device, parameters)
    if number_format != torch.int8:
        return load_model(name, device=device, dtype=number_format)
    # Quantised from what is stored: float32 copies would double the peak of memory.
    return load_model(name, device=device, dtype=None, prepare=quantize_module)


def random_model(preset: str, tokenizer: Any, seed: int) -> Model:
    """A model with random weights in float32 on the CPU; see `VideoChat.random`.

    Raises:
        ValueError: unknown preset, or a tokenizer that does not fit it.
    """
    from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
    from mobile_videogpt.processor import MobileVideoGPTProcessor

    config = MobileVideoGPTConfig.preset(preset)
    processor = MobileVideoGPTProcessor.from_config(config, _find_tokenizer(tokenizer, preset))
    if len(processor.tokenizer) > config.text_config.vocab_size:
        raise ValueError(
            f"the tokenizer has {len(processor.tokenizer)} tokens, but preset {preset!r} has "
            f"room for {config.text_config.vocab_size}; give the tokenizer that belongs to it"
        )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        return MobileVideoGPTForConditionalGeneration(config), processor


@cache
def say_what_the_miniature_is() -> None:
    """Once per process, however many chats are made."""
    logger.warning(MINIATURE_NOTICE)


def _find_tokenizer(tokenizer: Any, preset: str) -> Any:
    """The tokenizer itself, or the one in a folder, or the one that belongs to the miniature."""
    if tokenizer is None:
        if preset != MINIATURE:
            raise ValueError(
                f"preset {preset!r} needs a tokenizer; give a folder that holds Qwen2.5's "
                "(tokenizer.json, or vocab.json and merges.txt)"
            )
        from mobile_videogpt.synthetic.vocabulary import build_tokenizer

        return build_tokenizer()
    if not isinstance(tokenizer, (str, Path)):
        return tokenizer
    if not Path(tokenizer).is_dir():
        raise ValueError(f"no such folder with a tokenizer: {tokenizer}")
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(str(tokenizer))
