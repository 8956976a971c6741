"""Loading: every layout gives the same model, and nothing that does not fit goes unnoticed."""

import os
import pickle

import pytest
import torch
from safetensors.torch import load_file, save_file
from tiny_checkpoints import read_json, released_config, tiny_config, write_json

from mobile_videogpt.checkpoints import (
    CheckpointError,
    convert,
    load_config,
    load_model,
    load_pretrained,
    to_released,
)


def same_weights(loaded, model) -> bool:
    theirs, mine = loaded.state_dict(), model.state_dict()
    return theirs.keys() == mine.keys() and all(torch.equal(theirs[n], mine[n]) for n in mine)


@torch.no_grad()
def same_answers(loaded, model) -> bool:
    ids = torch.tensor([[1, 7, 9, 11]])
    return torch.equal(loaded(input_ids=ids).logits, model(input_ids=ids).logits)


@pytest.mark.parametrize("layout", ["ours", "converted", "released"])
def test_every_layout_gives_the_same_model(layout, model, request):
    folder = request.getfixturevalue(layout)
    loaded, config, tokenizer_path = load_pretrained(folder)
    assert same_weights(loaded, model)
    assert same_answers(loaded, model)
    assert tokenizer_path == folder
    assert not loaded.training
    assert loaded.get_output_embeddings().weight is loaded.get_input_embeddings().weight
    assert not any(tensor.is_meta for tensor in (*loaded.parameters(), *loaded.buffers()))
    assert config.video_config.to_dict() == model.config.video_config.to_dict()
    assert config.image_config.to_dict() == model.config.image_config.to_dict()
    assert config.text_config.vocab_size == 70  # rows of the file, whatever config.json says


def test_shards_are_read_through_their_index(model, ours, tmp_path):
    model.save_pretrained(tmp_path / "shards", max_shard_size="50KB")
    assert not (tmp_path / "shards" / "model.safetensors").exists()
    assert same_weights(load_pretrained(tmp_path / "shards").model, model)


def test_an_index_cannot_lead_out_of_its_folder(model, tmp_path):
    folder = tmp_path / "shards"
    model.save_pretrained(folder, max_shard_size="50KB")
    index = read_json(folder / "model.safetensors.index.json")
    index["weight_map"] = dict.fromkeys(index["weight_map"], "../outside.safetensors")
    write_json(folder / "model.safetensors.index.json", index)
    save_file({"x": torch.zeros(1)}, tmp_path / "outside.safetensors")
    with pytest.raises(CheckpointError, match=r"There is no weight file .*shards/outside"):
        load_pretrained(folder)


def test_precision_of_the_language_model_and_of_the_encoders(ours):
    model = load_pretrained(ours, dtype="float16").model
    assert model.language_model.dtype == torch.float16
    assert model.video_projector.ffn[0].weight.dtype == torch.float16
    assert model.image_encoder.dtype == model.video_encoder.dtype == torch.float32
    model = load_pretrained(ours, dtype=torch.bfloat16, encoder_dtype=torch.bfloat16).model
    assert {p.dtype for p in model.parameters()} == {torch.bfloat16}
    with pytest.raises(CheckpointError, match="dtype is 'int4'"):
        load_pretrained(ours, dtype="int4")


def test_tensors_stored_in_half_precision_become_float32(model, ours):
    weights = load_file(ours / "model.safetensors")
    save_file({n: t.half() for n, t in weights.items()}, ours / "model.safetensors")
    loaded = load_pretrained(ours).model
    assert {p.dtype for p in loaded.parameters()} == {torch.float32}
    torch.testing.assert_close(
        loaded.get_input_embeddings().weight, model.get_input_embeddings().weight.half().float()
    )


# What does not fit.


def damaged(folder, change) -> None:
    weights = load_file(folder / "model.safetensors")
    change(weights)
    save_file(weights, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("ours", "video_encoder.layers.1.norm.weight"),
        ("converted", "model.vision_tower.vision_encoder.layers.1.norm.weight"),
        ("converted", "model.embed_tokens.weight"),
    ],
)
def test_a_missing_tensor_is_named_as_in_the_file(layout, name, request):
    folder = request.getfixturevalue(layout)
    damaged(folder, lambda weights: weights.pop(name))
    with pytest.raises(CheckpointError, match=rf"lacks 1 of \d+ tensors \({name}\)"):
        load_pretrained(folder)


@pytest.mark.parametrize(
    ("layout", "name"),
    [("ours", "video_projector.extra.weight"), ("converted", "model.layers.9.mlp.up_proj.weight")],
)
def test_an_unexpected_tensor_is_named_as_in_the_file(layout, name, request):
    folder = request.getfixturevalue(layout)
    damaged(folder, lambda weights: weights.update({name: torch.zeros(2)}))
    with pytest.raises(CheckpointError, match=rf"holds 1 tensors .* no place for \({name}\)"):
        load_pretrained(folder)


def test_a_name_that_no_layout_knows_is_named(converted):
    damaged(converted, lambda weights: weights.update({"model.foo.weight": torch.zeros(2)}))
    with pytest.raises(CheckpointError, match=r"not of the released layout \(model\.foo\.weight\)"):
        load_pretrained(converted)


@pytest.mark.parametrize(
    ("layout", "name"),
    [
        ("ours", "image_projector.ffn.0.bias"),
        ("converted", "model.image_mm_projector.mlp.mlp.0.bias"),
    ],
)
def test_a_misshapen_tensor_is_named_with_both_shapes(layout, name, request):
    folder = request.getfixturevalue(layout)
    damaged(folder, lambda weights: weights.update({name: torch.zeros(33)}))
    with pytest.raises(CheckpointError, match=rf"{name} has shape \(33,\), .* asks for \(32,\)"):
        load_pretrained(folder)


def test_many_missing_tensors_are_counted(ours):
    def drop_language_model(weights):
        for name in [n for n in weights if n.startswith("language_model.model.layers")]:
            del weights[name]

    damaged(ours, drop_language_model)
    with pytest.raises(CheckpointError, match=r"lacks 24 of .* and 21 more\)"):
        load_pretrained(ours)


def test_a_truncated_file_is_named(ours):
    file = ours / "model.safetensors"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(CheckpointError, match=r"model\.safetensors cannot be read"):
        load_pretrained(ours)


class Malicious:
    def __reduce__(self):
        return (os.system, ("touch stolen",))


def test_a_pickle_that_runs_code_is_refused(released, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with (released / "pytorch_model.bin").open("wb") as file:
        pickle.dump({"weight": Malicious()}, file)
    with pytest.raises(CheckpointError, match="cannot be read as a file of tensors only"):
        load_pretrained(released)
    assert not (tmp_path / "stolen").exists()


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("nonsense", "There is no model 'nonsense'"),
        ("1.5b", "'1.5b' names sizes without weights"),
        ("/no/such/folder", "There is no model '/no/such/folder'"),
    ],
)
def test_unknown_models_are_refused(name, message):
    with pytest.raises(CheckpointError, match=message):
        load_pretrained(name)


def test_a_file_instead_of_a_folder_is_refused(ours):
    with pytest.raises(CheckpointError, match=r"is a file; give the folder"):
        load_pretrained(ours / "model.safetensors")


def test_a_folder_without_configuration_or_weights_is_refused(tmp_path):
    with pytest.raises(CheckpointError, match=r"no readable config\.json"):
        load_pretrained(tmp_path)
    tiny_config().save_pretrained(tmp_path)
    with pytest.raises(CheckpointError, match="holds no weights"):
        load_pretrained(tmp_path)


def test_another_kind_of_model_is_refused(tmp_path):
    write_json(tmp_path / "config.json", {"model_type": "llama"})
    with pytest.raises(CheckpointError, match="holds a model of type 'llama'"):
        load_pretrained(tmp_path)


def test_other_projectors_of_the_released_code_are_refused(released):
    raw = read_json(released / "config.json")
    write_json(released / "config.json", {**raw, "mm_projector_type": "mlp2x_gelu"})
    with pytest.raises(CheckpointError, match="mm_projector_type is 'mlp2x_gelu'"):
        load_pretrained(released)


def test_hub_without_network_fails_with_one_sentence(monkeypatch):
    with pytest.raises(CheckpointError, match="could not be fetched from the Hugging Face hub"):
        load_pretrained("Amshaker/Mobile-VideoGPT-0.5B", offline=True, revision="no-such-revision")


def test_a_model_without_tokenizer_says_what_is_missing(ours):
    with pytest.raises(CheckpointError, match="holds no tokenizer"):
        load_model(ours)


@pytest.mark.parametrize("layout", ["ours", "converted", "released"])
def test_configuration_alone(layout, model, request):
    config = load_config(request.getfixturevalue(layout))
    assert config.num_visual_tokens == model.config.num_visual_tokens


# Encoders that a released folder lacks.


@pytest.fixture
def without_encoders(model, tmp_path):
    """A released folder with neither encoder."""
    state = to_released(model.state_dict())
    state = {n: t for n, t in state.items() if "vision_tower" not in n and n != "lm_head.weight"}
    folder = tmp_path / "without"
    folder.mkdir()
    save_file(state, folder / "model.safetensors")
    return folder


def videomamba_file(model, path, prefix, wrapper=None):
    state = to_released(
        {f"video_encoder.{n}": t for n, t in model.video_encoder.state_dict().items()}
    )
    inner = "model.vision_tower.vision_encoder."
    state = {prefix + n.removeprefix(inner): t for n, t in state.items()}
    state["text_encoder.embeddings.weight"] = torch.zeros(3)
    if prefix:
        state[prefix + "clip_decoder.0.head.bias"] = torch.zeros(4)
    torch.save({wrapper: state} if wrapper else state, path)


@pytest.mark.parametrize(
    ("prefix", "wrapper"), [("vision_encoder.", None), ("", None), ("vision_encoder.", "module")]
)
def test_encoders_are_taken_from_local_paths(
    model, released, without_encoders, tmp_path, prefix, wrapper
):
    videomamba_file(model, without_encoders / "mamba.pth", prefix, wrapper)
    raw = released_config(model.config, image_tower=str(tmp_path / "clip"))
    # A relative path starts from the checkpoint.
    write_json(without_encoders / "config.json", {**raw, "mm_vision_tower": "mamba.pth"})
    assert same_weights(load_pretrained(without_encoders).model, model)


@pytest.mark.parametrize(
    ("image_tower", "video_tower", "field", "location"),
    [
        ("openai/clip-vit-base-patch16", "mamba.pth", "image_mm_vision_tower", "openai/clip"),
        ("/no/clip", "mamba.pth", "image_mm_vision_tower", "/no/clip"),
        (None, "OpenGVLab/VideoMamba/videomamba.pth", "mm_vision_tower", "OpenGVLab/VideoMamba"),
        (None, "/no/mamba.pth", "mm_vision_tower", "/no/mamba.pth"),
    ],
)
def test_an_encoder_that_is_nowhere_is_named(
    model, released, without_encoders, tmp_path, image_tower, video_tower, field, location
):
    videomamba_file(model, without_encoders / "mamba.pth", "vision_encoder.")
    raw = released_config(model.config, image_tower=image_tower or str(tmp_path / "clip"))
    write_json(without_encoders / "config.json", {**raw, "mm_vision_tower": video_tower})
    with pytest.raises(CheckpointError, match=rf"'{location}.*{field}.*put its path into {field}"):
        load_pretrained(without_encoders, offline=True)


def test_a_file_that_is_no_videomamba_is_refused(model, released, without_encoders, tmp_path):
    torch.save({"blocks.0.weight": torch.zeros(2)}, without_encoders / "mamba.pth")
    raw = released_config(model.config, image_tower=str(tmp_path / "clip"))
    write_json(without_encoders / "config.json", {**raw, "mm_vision_tower": "mamba.pth"})
    with pytest.raises(CheckpointError, match="holds no VideoMamba"):
        load_pretrained(without_encoders)


# Conversion.


def test_conversion_there_and_back_changes_nothing(model, ours, converted, tmp_path):
    back = convert(converted, tmp_path / "back")
    assert same_weights(load_pretrained(back).model, model)
    assert read_json(back / "config.json") == read_json(ours / "config.json")
    assert "lm_head.weight" not in load_file(converted / "model.safetensors")


def test_conversion_keeps_the_precision_and_the_companions(ours, tmp_path):
    weights = load_file(ours / "model.safetensors")
    save_file({n: t.half() for n, t in weights.items()}, ours / "model.safetensors")
    (ours / "merges.txt").write_text("a b")
    folder = convert(ours, tmp_path / "half", to="released")
    assert {t.dtype for t in load_file(folder / "model.safetensors").values()} == {torch.float16}
    assert (folder / "merges.txt").read_text() == "a b"
    assert read_json(folder / "config.json")["torch_dtype"] == "float16"


def test_a_failed_conversion_leaves_nothing_behind(ours, tmp_path):
    damaged(ours, lambda weights: weights.pop("video_encoder.norm.weight"))
    before = sorted(tmp_path.iterdir())
    with pytest.raises(CheckpointError, match=r"video_encoder\.norm\.weight"):
        convert(ours, tmp_path / "new")
    assert sorted(tmp_path.iterdir()) == before


def test_a_destination_in_use_is_left_alone(ours, tmp_path):
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="exists and is not an empty folder"):
        convert(ours, tmp_path / "full")
    assert [f.name for f in (tmp_path / "full").iterdir()] == ["notes.txt"]
    (tmp_path / "empty").mkdir()
    assert convert(ours, tmp_path / "empty") == tmp_path / "empty"


def test_an_unknown_layout_is_refused(ours, tmp_path):
    with pytest.raises(CheckpointError, match="Cannot convert to 'gguf'"):
        convert(ours, tmp_path / "new", to="gguf")
