"""QLoRA's 4-bit layers, on bitsandbytes' CPU kernels where they are installed."""

from pathlib import Path

import pytest
import torch

from mobile_videogpt.checkpoints import load_model
from mobile_videogpt.training.media import quantize
from mobile_videogpt.training.media.parameters import choose_trainable, trainable_names
from mobile_videogpt.training.media.recipe import MediaStage
from mobile_videogpt.training.recipe import RecipeError


def test_what_is_missing_is_said_in_one_sentence(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    with pytest.raises(RecipeError, match="CUDA device"):
        quantize.require_qlora()
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(quantize.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(RecipeError, match="pip install"):
        quantize.require_qlora()


def test_lora_trains_on_four_bits(monkeypatch):
    pytest.importorskip("peft")
    pytest.importorskip("bitsandbytes")
    monkeypatch.setattr(quantize, "require_qlora", lambda: None)
    monkeypatch.setattr(torch.cuda, "is_bf16_supported", lambda: True)
    model, _ = load_model("moving-shapes")
    ids = torch.arange(20, 40)[None]
    expected = model(input_ids=ids).logits
    quantize.quantize_language_model(model)
    stage = MediaStage("s", "instruct", Path("d"), 1e-3, 1, lora_rank=4, lora_dropout=0.0)
    adapted = choose_trainable(model.train(), stage).to("cpu")  # moving is what quantises
    layer = adapted.base_model.model.language_model.model.layers[0].mlp.up_proj
    assert layer.base_layer.weight.dtype == torch.uint8
    assert all(
        "lora_" in name or "_projector." in name for name in trainable_names(adapted, "instruct")
    )
    logits = adapted(input_ids=ids).logits
    close = torch.nn.functional.cosine_similarity(logits.flatten(), expected.flatten(), dim=0)
    assert close > 0.9
    logits.sum().backward()
    assert layer.lora_B["default"].weight.grad.abs().max() > 0
