"""Where training starts: parts put together, what is missing named, a placeholder for stills."""

import json

import pytest
import torch
from media_data import write_recipe

from mobile_videogpt.checkpoints import CheckpointError, load_model, to_released
from mobile_videogpt.checkpoints.files import open_tensors
from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.synthetic.vocabulary import build_tokenizer
from mobile_videogpt.training.media.base_model import add_still_token, base_checkpoint
from mobile_videogpt.training.media.recipe import load_media_recipe
from mobile_videogpt.training.recipe import RecipeError

STAGE = {"kind": "image_projector"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    """A miniature's parts as their authors would publish them, and the miniature."""
    folder = tmp_path_factory.mktemp("parts")
    torch.manual_seed(3)
    model = MobileVideoGPTForConditionalGeneration(MobileVideoGPTConfig.preset("moving-shapes"))
    model.image_encoder.save_pretrained(folder / "clip")
    model.language_model.save_pretrained(folder / "qwen")
    build_tokenizer().save_pretrained(folder / "qwen")
    prefix = "model.vision_tower."
    state = to_released(model.state_dict())
    state = {n.removeprefix(prefix): t for n, t in state.items() if n.startswith(prefix)}
    torch.save(state, folder / "videomamba.pth")
    named = {
        "preset": "moving-shapes",
        "image_encoder": str(folder / "clip"),
        "video_encoder": str(folder / "videomamba.pth"),
        "language_model": str(folder / "qwen"),
    }
    return named, model


def start(folder, model) -> MobileVideoGPTForConditionalGeneration:
    recipe = load_media_recipe(write_recipe(folder, STAGE, model=model))
    return load_model(base_checkpoint(recipe))[0]


def test_named_parts_become_a_model_with_fresh_projectors(tmp_path, parts):
    named, source = parts
    state, expected = start(tmp_path, named).state_dict(), source.state_dict()
    for name, value in expected.items():
        is_fresh = "_projector." in name and value.std() > 0
        assert torch.equal(state[name], value) != is_fresh, name


def test_the_same_seed_gives_the_same_model(tmp_path):
    random = {"preset": "moving-shapes", "random": True}
    one, two = (start(tmp_path / name, random).state_dict() for name in ("a", "b"))
    assert all(torch.equal(one[name], two[name]) for name in one)


@pytest.mark.parametrize("lost", ["language_model", "video_encoder", "image_encoder"])
def test_a_part_that_is_not_named_is_an_error_unless_random_is_asked_for(tmp_path, parts, lost):
    named = {name: value for name, value in parts[0].items() if name != lost}
    named["tokenizer"] = parts[0]["language_model"]
    with pytest.raises(RecipeError, match=f"no .*{lost}.*random: true"):
        start(tmp_path, named)
    assert not (tmp_path / "out" / "base").exists()


def test_parts_of_another_size_are_named(tmp_path, parts):
    named = {**parts[0], "preset": "0.5b", "random": True}
    named["language_model"] = ""
    named["tokenizer"] = parts[0]["language_model"]
    with pytest.raises((CheckpointError, RecipeError), match=r"tokenizer|shape"):
        start(tmp_path, named)


def test_a_run_does_not_go_on_from_another_model(tmp_path):
    start(tmp_path, {"preset": "moving-shapes", "random": True})
    with pytest.raises(RecipeError, match="began with another model"):
        start(tmp_path, "moving-shapes")


def test_a_checkpoint_with_every_token_is_used_as_it_is(tmp_path, parts):
    start(tmp_path, parts[0])
    whole = tmp_path / "out" / "base"
    recipe = load_media_recipe(write_recipe(tmp_path / "next", STAGE, model=str(whole)))
    assert base_checkpoint(recipe) == str(whole)


def test_a_vocabulary_without_a_placeholder_for_stills_is_given_one():
    from tokenizers import Tokenizer
    from transformers import PreTrainedTokenizerFast

    raw = json.loads(build_tokenizer().backend_tokenizer.to_str())
    del raw["model"]["vocab"]["<|image_pad|>"]
    raw["added_tokens"] = [t for t in raw["added_tokens"] if t["content"] != "<|image_pad|>"]
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(raw)), unk_token="<unk>"
    )
    config = MobileVideoGPTConfig.preset("moving-shapes", image_token_id=151655)
    assert add_still_token(config, tokenizer)
    assert tokenizer.convert_tokens_to_ids("<|image_pad|>") == config.image_token_id == 189
    assert not add_still_token(config, tokenizer)
    full = MobileVideoGPTConfig.preset("moving-shapes")
    full.text_config.vocab_size = len(build_tokenizer())
    assert not add_still_token(full, build_tokenizer())


def test_what_is_written_is_what_was_opened(tmp_path, parts):
    start(tmp_path, parts[0])
    written = open_tensors(tmp_path / "out" / "base")
    assert all(tensor.load().dtype == torch.float32 for tensor in written.values())
