"""LoRA adapters: merged while loading, equal to what PEFT itself merges."""

import copy

import pytest
import torch
from peft import LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from tiny_checkpoints import released_config, save_clip, write_json
from transformers import Qwen2ForCausalLM

from mobile_videogpt.checkpoints import CheckpointError, convert, load_pretrained, to_released

LINEARS = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]


def randomised(peft_model):
    torch.manual_seed(1)
    with torch.no_grad():
        for name, parameter in peft_model.named_parameters():
            if "lora_B" in name or "modules_to_save" in name:
                parameter.normal_()
    return peft_model


@pytest.fixture
def trained(model, ours, tmp_path):
    """An adapter of our training: LoRA on the language model, both projectors in full."""
    config = LoraConfig(
        r=4,
        lora_alpha=8,
        target_modules=rf"language_model\..*\.({'|'.join(LINEARS)})",
        modules_to_save=["image_projector", "video_projector"],
    )
    peft_model = randomised(get_peft_model(copy.deepcopy(model), config))
    peft_model.peft_config["default"].base_model_name_or_path = str(ours)
    peft_model.save_pretrained(tmp_path / "adapter")
    return tmp_path / "adapter", peft_model.merge_and_unload()


def assert_close(loaded, expected):
    theirs, mine = loaded.state_dict(), expected.state_dict()
    assert theirs.keys() == mine.keys()
    for name in mine:
        torch.testing.assert_close(theirs[name], mine[name], msg=lambda m, n=name: f"{n}: {m}")


def test_our_adapter_is_merged_as_peft_merges_it(trained):
    folder, merged = trained
    assert_close(load_pretrained(folder).model, merged)


def test_a_merged_adapter_can_be_written(trained, tmp_path):
    folder, merged = trained
    assert_close(load_pretrained(convert(folder, tmp_path / "merged")).model, merged)


def test_an_adapter_on_the_released_layout(trained, converted):
    folder, merged = trained
    assert_close(load_pretrained(folder, base=converted).model, merged)


@pytest.mark.parametrize("suffix", ["weight", "default.weight"])
def test_the_files_of_the_released_training(model, tmp_path, suffix):
    """Adapter and projectors beside a bare language model; both encoders at local paths."""
    base = tmp_path / "qwen"
    language_model: Qwen2ForCausalLM = copy.deepcopy(model.language_model)
    language_model.save_pretrained(base)
    adapter = tmp_path / "adapter"
    adapter.mkdir()
    peft_model = randomised(
        get_peft_model(language_model, LoraConfig(r=4, lora_alpha=8, target_modules=LINEARS))
    )
    low_rank = {
        n.replace("default.weight", suffix): p.detach().clone()
        for n, p in peft_model.named_parameters()
        if "lora_" in n
    }
    save_file(low_rank, adapter / "adapter_model.safetensors")
    projectors = {n: t for n, t in to_released(model.state_dict()).items() if "mm_projector" in n}
    torch.save(
        {f"base_model.model.{n}": t for n, t in projectors.items()},
        adapter / "non_lora_trainables.bin",
    )
    mamba = to_released(
        {f"video_encoder.{n}": t for n, t in model.video_encoder.state_dict().items()}
    )
    torch.save(
        {n.removeprefix("model.vision_tower."): t for n, t in mamba.items()}, adapter / "mamba.pth"
    )
    save_clip(model, tmp_path / "clip")
    raw = released_config(model.config, image_tower=str(tmp_path / "clip"))
    write_json(adapter / "config.json", {**raw, "mm_vision_tower": "mamba.pth"})
    write_json(
        adapter / "adapter_config.json",
        {"peft_type": "LORA", "r": 4, "lora_alpha": 8, "base_model_name_or_path": str(base)},
    )
    expected = copy.deepcopy(model)
    expected.language_model = peft_model.merge_and_unload()
    assert_close(load_pretrained(adapter).model, expected)


def test_an_adapter_of_another_base_is_refused(trained, ours):
    folder, _ = trained
    weights = load_file(folder / "adapter_model.safetensors")
    name = next(n for n in weights if "q_proj.lora_A" in n)
    save_file({**weights, name: torch.zeros(4, 33)}, folder / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"q_proj\.weight by a matrix of shape \(32, 33\)"):
        load_pretrained(folder)


def test_half_a_pair_of_matrices_is_named(trained):
    folder, _ = trained
    weights = load_file(folder / "adapter_model.safetensors")
    del weights[next(n for n in weights if "layers.1.self_attn.k_proj.lora_B" in n)]
    save_file(weights, folder / "adapter_model.safetensors")
    with pytest.raises(CheckpointError, match=r"lacks one of .*layers\.1\.self_attn\.k_proj"):
        load_pretrained(folder)


def test_other_adapters_are_refused(trained):
    folder, _ = trained
    write_json(folder / "adapter_config.json", {"peft_type": "IA3"})
    with pytest.raises(CheckpointError, match="is IA3, but only plain LoRA"):
        load_pretrained(folder)
