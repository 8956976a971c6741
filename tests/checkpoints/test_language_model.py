"""The language model by itself: a Qwen2 folder that transformers runs without our package."""

import json
from dataclasses import replace

import pytest
import torch
from tiny_checkpoints import qwen_sized_model
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedTokenizerFast

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.checkpoints import CheckpointError
from mobile_videogpt.checkpoints.language_model import (
    language_model_of,
    open_language_model,
    save_qwen2,
)

QUESTIONS = ("What happens in the video?", "How many objects are there?", "Which object is red?")


@pytest.fixture(scope="module")
def chat() -> VideoChat:
    return VideoChat(engine="torch")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("exported") / "qwen2"
    save_qwen2(open_language_model("moving-shapes"), path)
    return path


def words_of(folder) -> PreTrainedTokenizerFast:
    """The built-in model's tokenizer: AutoTokenizer takes that of any Qwen2 folder for Qwen2's."""
    return PreTrainedTokenizerFast.from_pretrained(folder)


def greedy(model, embeds, end_token_ids, max_new_tokens=40) -> list[int]:
    """What transformers generates from embeddings alone."""
    ids = model.generate(
        inputs_embeds=embeds[None],
        attention_mask=torch.ones(1, len(embeds), dtype=torch.long),
        max_new_tokens=max_new_tokens,
        do_sample=False,
    )[0].tolist()
    return ids[:-1] if ids[-1] in end_token_ids else ids


def test_the_folder_answers_as_the_whole_model_when_fed_with_its_embeddings(
    chat, folder, clip_file
):
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    assert type(plain).__name__ == "Qwen2ForCausalLM"
    tokenizer = words_of(folder)
    video = chat.open(clip_file)
    for question in QUESTIONS:
        embeds, _ = chat.prompt_embeds(video, question)
        ids = greedy(plain, embeds, chat.end_token_ids)
        text = tokenizer.decode(ids, skip_special_tokens=True).strip()
        assert text == str(chat.ask(video, question)) != ""


def test_the_prefix_of_the_prompt_is_the_same_for_every_question(chat, clip_file):
    video = chat.open(clip_file)
    first, shared = chat.prompt_embeds(video, QUESTIONS[0])
    second, again = chat.prompt_embeds(video, QUESTIONS[1], history=[("Is it red?", "No.")])
    assert shared == again and torch.equal(first[:shared], second[:shared])
    assert len(second) > len(first) > shared
    # The visual tokens stand last in it, unchanged.
    count = video.num_visual_tokens
    assert torch.equal(first[shared - count : shared], video.visual_embeds[0].float())


def test_merged_tokens_are_not_handed_out_without_their_positions(clip_file):
    merging = VideoChat(engine="torch", merge_tokens=0.5)
    with pytest.raises(ValueError, match="use a chat without merge_tokens"):
        merging.prompt_embeds(clip_file, QUESTIONS[0])


def test_values_and_precision_stay_as_stored(folder):
    source = open_language_model("moving-shapes")
    plain = AutoModelForCausalLM.from_pretrained(folder, dtype="auto").state_dict()
    for name, lazy in source.tensors.items():
        assert plain[name].dtype == torch.float16
        assert torch.equal(plain[name], lazy.load())
    assert source.num_parameters == sum(lazy.load().numel() for lazy in source.tensors.values())


def test_the_config_speaks_to_readers_old_and_new(folder, chat):
    config = json.loads((folder / "config.json").read_text())
    assert config["model_type"] == "qwen2"
    # MLX falls back to a million where the old name is missing.
    assert config["rope_theta"] == config["rope_parameters"]["rope_theta"] == 10000.0
    assert config["torch_dtype"] == config["dtype"] == "float16"
    generation = json.loads((folder / "generation_config.json").read_text())
    assert tuple(generation["eos_token_id"]) == chat.end_token_ids
    assert config["eos_token_id"] == chat.end_token_ids[0]


def test_the_chat_template_renders_the_prompt_that_the_model_was_trained_on(folder, chat):
    tokenizer = words_of(folder)
    messages = [{"role": "user", "content": "Is it red?"}]
    # As text first: transformers 5 would hand back a dictionary of ids otherwise.
    text = tokenizer.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    wanted = chat.processor.prompt.encode_text(text)
    assert tokenizer(text, add_special_tokens=False)["input_ids"] == wanted
    assert text.startswith("<|im_start|>system\nYou are a helpful assistant.<|im_end|>\n")


def test_a_model_with_qwens_tokenizer_reads_as_any_qwen2(qwen_tokenizer_folder, tmp_path):
    model, processor = qwen_sized_model(qwen_tokenizer_folder)
    save_qwen2(language_model_of(model, processor, "tiny"), tmp_path / "out")
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "out")
    messages = [{"role": "user", "content": "Naïve 12 cafés, isn't it?"}]
    ids = tokenizer.apply_chat_template(messages, add_generation_prompt=True)["input_ids"]
    text = processor.apply_chat_template(messages, tokenize=False, add_generation_prompt=True)
    assert ids == processor.prompt.encode_text(text)
    plain = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype="auto")
    assert plain.lm_head.weight is plain.model.embed_tokens.weight
    assert plain.generation_config.eos_token_id == [151645, 151643]


def test_a_template_of_the_tokenizers_own_does_not_win(folder, tmp_path, chat):
    source = open_language_model("moving-shapes")
    other = tmp_path / "tokenizer"
    chat.processor.tokenizer.save_pretrained(other)
    settings = json.loads((other / "tokenizer_config.json").read_text())
    settings["chat_template"] = "You are Qwen."
    (other / "tokenizer_config.json").write_text(json.dumps(settings))
    save_qwen2(replace(source, tokenizer_files=other), tmp_path / "out")
    assert "You are Qwen" not in words_of(tmp_path / "out").chat_template


def test_a_model_in_memory_is_exported_as_its_checkpoint_is(chat):
    stored = open_language_model("moving-shapes")
    held = language_model_of(chat.model, chat.processor, "in memory")
    assert held.tensors.keys() == stored.tensors.keys()
    for name, lazy in held.tensors.items():
        assert lazy.shape == stored.tensors[name].shape
        assert torch.equal(lazy.load(), stored.tensors[name].load().float())


def test_a_folder_that_holds_something_is_left_alone(tmp_path):
    (tmp_path / "mine.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="not an empty folder"):
        save_qwen2(open_language_model("moving-shapes"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine.txt"]
