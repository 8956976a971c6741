"""The stand-ins: a checkpoint with random weights and a tokenizer with Qwen2.5's special ids."""

import json

import pytest

from mobile_videogpt.benchmark import stand_in
from mobile_videogpt.benchmark.settings import FOLLOW_UP, QUESTION
from mobile_videogpt.config import MobileVideoGPTConfig


@pytest.fixture(scope="module")
def tokenizer(tmp_path_factory):
    from transformers import AutoTokenizer

    folder = tmp_path_factory.mktemp("stand-in")
    stand_in.write_stand_in_tokenizer(folder)
    return AutoTokenizer.from_pretrained(folder)


def test_special_tokens_have_the_ids_of_qwen2_5(tokenizer):
    config = MobileVideoGPTConfig.preset("0.5b")
    assert tokenizer.convert_tokens_to_ids("<|video_pad|>") == config.video_token_id
    assert tokenizer.convert_tokens_to_ids("<|image_pad|>") == config.image_token_id
    assert tokenizer.convert_tokens_to_ids("<|im_end|>") == config.text_config.eos_token_id
    assert len(tokenizer) == config.text_config.vocab_size


@pytest.mark.parametrize("text", [QUESTION, FOLLOW_UP, "You are a helpful assistant."])
def test_a_word_of_the_prompts_is_one_token_and_comes_back(tokenizer, text):
    ids = tokenizer(text, add_special_tokens=False).input_ids
    assert len(ids) == len(text.replace(".", " .").replace("?", " ?").split())
    assert tokenizer.decode(ids) == text


def test_the_prompt_has_the_length_of_qwen2_5s(tokenizer, qwen_tokenizer_folder):
    from transformers import AutoTokenizer

    from mobile_videogpt.processor import MobileVideoGPTProcessor

    config = MobileVideoGPTConfig.preset("0.5b")
    lengths = []
    for each in (tokenizer, AutoTokenizer.from_pretrained(qwen_tokenizer_folder)):
        processor = MobileVideoGPTProcessor.from_config(config, each)
        lengths.append([len(processor.prefix_ids()), len(processor.question_ids(QUESTION))])
    assert lengths[0] == lengths[1]


def test_a_random_checkpoint_is_made_once_and_answers(tmp_path, monkeypatch, clip_file):
    from mobile_videogpt.chat import VideoChat

    monkeypatch.setenv("MOBILE_VIDEOGPT_BENCH_CACHE", str(tmp_path))
    folder = stand_in.random_checkpoint("moving-shapes")
    stamp = (folder / "config.json").stat().st_mtime_ns
    assert stand_in.random_checkpoint("moving-shapes") == folder
    assert (folder / "config.json").stat().st_mtime_ns == stamp
    assert json.loads((folder / "config.json").read_text())["num_frames"] == 16
    answer = VideoChat(folder).ask(clip_file, QUESTION, max_new_tokens=2)
    assert answer.tokens["visual"] > 0


@pytest.mark.parametrize("num_frames", [8, 32, 64])
def test_a_preset_takes_other_numbers_of_frames(num_frames):
    config = stand_in.preset_config("0.5b", num_frames)
    assert config.num_frames == num_frames
    assert config.num_visual_tokens == num_frames * 144 + num_frames // 8 * 49


def test_frames_that_make_no_chunks_are_refused():
    with pytest.raises(ValueError, match=r"20.*chunks of 8.*multiple"):
        stand_in.preset_config("0.5b", 20)
