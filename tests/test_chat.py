"""`VideoChat`: a video is encoded once, questions never change it, answers are the model's own."""

import logging
from contextlib import contextmanager

import numpy as np
import pytest
import torch

from mobile_videogpt.chat import AnswerStream, VideoChat, loading, open_videos
from mobile_videogpt.engines.base import PARTS, GenerationOptions
from mobile_videogpt.synthetic import make_clip

ENCODER_STEPS = ("encode_images", "select", "encode_video_frames", "project_features")
VIDEO_PARTS = PARTS[: PARTS.index("prefill")]


@pytest.fixture
def chat(lively_chat):
    return lively_chat


@pytest.fixture(scope="module")
def frames():
    return make_clip(0).frames()


@pytest.fixture
def video(chat, frames):
    return chat.open(frames)


@contextmanager
def counted(chat, monkeypatch):
    """How often each step runs, and how many tokens the language model reads."""
    counts = dict.fromkeys(("read_video", *ENCODER_STEPS, "tokens"), 0)

    def counting(name, function):
        def call(*args, **kwargs):
            counts[name] += 1
            return function(*args, **kwargs)

        return call

    read = chat.engine._read

    def reading(embeds, *args):
        counts["tokens"] += embeds.shape[:-1].numel()
        return read(embeds, *args)

    with monkeypatch.context() as patch:
        patch.setattr(open_videos, "read_video", counting("read_video", open_videos.read_video))
        for name in ENCODER_STEPS:
            patch.setattr(chat.model, name, counting(name, getattr(chat.model, name)))
        patch.setattr(chat.engine, "_read", reading)
        yield counts


def plain_logits(chat, video, token_ids):
    """Logits of a full forward without any cache, (L, V)."""
    with torch.inference_mode():
        return chat.model(
            input_ids=torch.tensor([token_ids]), visual_embeds=video.visual_embeds, use_cache=False
        ).logits[0]


def plain_answer(chat, video, question, max_new_tokens, history=()):
    """Greedy decoding by full forwards: the definition that the engine must reproduce."""
    ids = [*chat.processor.prefix_ids(), *chat.processor.question_ids(question, history=history)]
    new = []
    while len(new) < max_new_tokens:
        token = int(plain_logits(chat, video, ids + new)[-1].argmax())
        if token in chat.engine.end_token_ids:
            break
        new.append(token)
    return chat.processor.tokenizer.decode(new, skip_special_tokens=True).strip()


def cache_tensors(video):
    layers = video.prefix.state.layers
    return [tensor for layer in layers for tensor in (layer.keys, layer.values)]


# Encode once, ask many


def test_second_question_runs_no_decoder_no_encoder_and_no_visual_prefix(chat, frames, monkeypatch):
    chat.forget()
    with counted(chat, monkeypatch) as counts:
        video = chat.open(frames)
        chat.ask(video, "What happens in the video?", max_new_tokens=4)
        assert [counts[name] for name in ("read_video", *ENCODER_STEPS)] == [1, 1, 1, 1, 1]
        assert counts["tokens"] > video.num_visual_tokens
    with counted(chat, monkeypatch) as counts:
        question = "Which shape moves to the left?"
        answer = chat.ask(video, question, max_new_tokens=4)
        assert [counts[name] for name in ("read_video", *ENCODER_STEPS)] == [0, 0, 0, 0, 0]
        read = len(chat.processor.question_ids(question)) + answer.tokens["generated"]
        assert counts["tokens"] in (read - 1, read)


def test_the_prefix_is_read_only_when_a_question_is_asked(chat, frames, monkeypatch):
    chat.forget()
    with counted(chat, monkeypatch) as counts:
        video = chat.open(frames)
    assert counts["tokens"] == 0 and video.prefix is None


def test_questions_scores_and_abandoned_streams_leave_the_prefix_as_it_was(chat, video):
    chat.ask(video, "What is it?", max_new_tokens=2)
    before = [tensor.clone() for tensor in cache_tensors(video)]
    chat.ask(video, "What happens in the video?", max_new_tokens=8)
    chat.score(video, "Which way does it move?", ["left", "to the right side"])
    stream = chat.stream(video, "Describe the video.", max_new_tokens=8)
    next(stream, "")
    stream.close()
    after = cache_tensors(video)
    assert len(before) == len(after)
    assert all(torch.equal(old, new) for old, new in zip(before, after, strict=True))


def test_interleaved_streams_about_one_video_do_not_disturb_each_other(chat, video):
    questions = ("What happens in the video?", "Which shape is red?")
    alone = [chat.ask(video, question, max_new_tokens=8).text for question in questions]
    streams = [chat.stream(video, question, max_new_tokens=8) for question in questions]
    together = ["", ""]
    for _ in range(9):
        for index, stream in enumerate(streams):
            together[index] += next(stream, "")
    assert together == alone


def test_same_content_opened_again_is_not_encoded_again(chat, frames, monkeypatch):
    first = chat.open(frames)
    with counted(chat, monkeypatch) as counts:
        assert chat.open(frames.copy()) is first
        assert chat.open(list(frames)) is first
    assert counts["encode_images"] == 0


def test_other_content_other_part_and_other_weights_have_other_keys(chat, frames):
    darker = (frames * 0.9).astype(np.uint8)
    other = VideoChat.random("moving-shapes", seed=1)
    keys = {
        chat.open(frames).key,
        chat.open(darker).key,
        chat.open(frames, start=2.0, fps=8).key,
        other.open(frames).key,
    }
    assert len(keys) == 4


def test_only_so_many_open_videos_are_remembered(frames, monkeypatch):
    chat = VideoChat.random("moving-shapes")
    chat.max_open_videos = 2
    videos = [(frames * share).astype(np.uint8) for share in (1.0, 0.9, 0.8)]
    for content in videos:
        chat.open(content)
    with counted(chat, monkeypatch) as counts:
        for content in reversed(videos):
            chat.open(content)
    assert counts["encode_images"] == 1  # the oldest had to go


def test_a_file_is_the_same_video_under_any_path(chat, clip_file, tmp_path):
    copy = tmp_path / "copie d'été 動画.mp4"
    copy.write_bytes(clip_file.read_bytes())
    assert chat.open(copy) is chat.open(str(clip_file))


# What an encoded video tells


def test_encoded_video_says_which_frames_were_kept_and_why(chat, clip_file):
    video = chat.open(clip_file)
    config = chat.config
    assert len(video.frames) == len(video.frame_times) == len(video.frame_scores) == 16
    assert video.frame_times == sorted(video.frame_times)
    assert video.visual_embeds.shape == (1, config.num_visual_tokens, 128)
    for chunk in range(config.num_chunks):
        inside = range(chunk * 8, chunk * 8 + 8)
        best = sorted(inside, key=lambda index: video.frame_scores[index])[-4:]
        assert [k for k in video.kept_frames if k in inside] == sorted(best)


def test_start_and_end_choose_a_part(chat, clip_file):
    video = chat.open(clip_file, start=1.0, end=2.5)
    assert video.frame_times[0] == pytest.approx(1.0, abs=0.13)
    assert video.frame_times[-1] <= 2.5


# Answers


@pytest.mark.parametrize("question", ["What happens in the video?", "is it red"])
def test_answer_equals_greedy_decoding_without_any_cache(chat, video, question):
    answer = chat.ask(video, question, max_new_tokens=6)
    assert answer.text == plain_answer(chat, video, question, 6) != ""
    assert str(answer) == answer.text


def test_answers_depend_on_the_video_and_the_question(chat, video):
    other = chat.open(make_clip(1).frames())
    question = "What happens in the video?"
    answer = chat.ask(video, question, max_new_tokens=8).text
    assert answer != chat.ask(other, question, max_new_tokens=8).text
    assert answer != chat.ask(video, "Where does it go?", max_new_tokens=8).text


def test_streamed_pieces_are_the_answer(chat, video):
    answer = chat.ask(video, "Describe the video.", max_new_tokens=10)
    pieces = list(chat.stream(video, "Describe the video.", max_new_tokens=10))
    assert "".join(pieces) == answer.text and all(pieces) and len(pieces) > 1


def test_a_path_is_opened_on_the_way(chat, clip_file):
    video = chat.open(clip_file)
    direct = chat.ask(clip_file, "What happens?", max_new_tokens=5)
    assert direct.text == chat.ask(video, "What happens?", max_new_tokens=5).text


def test_history_is_read_before_the_question(chat, video):
    history = [("Which shape is red?", "the circle")]
    answer = chat.ask(video, "Where does it go?", history=history, max_new_tokens=6)
    assert answer.text == plain_answer(chat, video, "Where does it go?", 6, history)
    short = chat.ask(video, "Where does it go?", max_new_tokens=6)
    assert answer.tokens["prompt"] > short.tokens["prompt"]


def test_conversation_remembers_and_forgets(chat, video):
    conversation = chat.conversation(video)
    first = conversation.ask("Which shape is red?", max_new_tokens=4)
    second = conversation.ask("Where does it go?", max_new_tokens=4)
    history = [("Which shape is red?", first.text)]
    again = chat.ask(video, "Where does it go?", history=history, max_new_tokens=4)
    assert second.text == again.text and second.tokens["prompt"] == again.tokens["prompt"]
    assert conversation.history == [*history, ("Where does it go?", second.text)]
    conversation.reset()
    assert conversation.history == []


def test_a_stopped_answer_counts_as_far_as_it_went(chat, video):
    conversation = chat.conversation(video)
    stream = conversation.stream("Describe the video.", max_new_tokens=10)
    said = next(stream, "")
    stream.close()
    assert conversation.history == [("Describe the video.", said)]
    assert list(stream) == []


def test_timings_name_every_part_and_are_zero_for_what_was_not_run(chat, clip_file):
    chat.forget()
    first = chat.ask(clip_file, "What happens?", max_new_tokens=4)
    assert set(first.timings) == {*PARTS, "total"}
    assert all(first.timings[part] > 0 for part in PARTS if part != "decode_tokens")
    assert sum(first.timings[part] for part in PARTS) <= first.timings["total"]
    video = chat.open(clip_file)
    assert all(video.timings[part] > 0 for part in VIDEO_PARTS)
    second = chat.ask(video, "What happens?", max_new_tokens=4)
    assert all(second.timings[part] == 0 for part in VIDEO_PARTS)


def test_tokens_are_counted(chat, video):
    answer = chat.ask(video, "What happens in the video?", max_new_tokens=5)
    prompt = len(chat.processor.prefix_ids()) + len(
        chat.processor.question_ids("What happens in the video?")
    )
    assert answer.tokens["visual"] == chat.config.num_visual_tokens
    assert answer.tokens["prompt"] == prompt
    assert 0 <= answer.tokens["generated"] <= 5
    assert answer.finish_reason == ("length" if answer.tokens["generated"] == 5 else "stop")


def test_sampling_is_repeatable_with_a_seed_and_greedy_in_the_limit(chat, video):
    options = {"max_new_tokens": 8, "do_sample": True, "temperature": 3.0}
    texts = [chat.ask(video, "What?", seed=seed, **options).text for seed in (1, 1, 2)]
    assert texts[0] == texts[1] != texts[2]
    greedy = chat.ask(video, "What?", max_new_tokens=8).text
    assert chat.ask(video, "What?", do_sample=True, top_k=1, max_new_tokens=8).text == greedy
    assert chat.ask(video, "What?", do_sample=True, top_p=1e-6, max_new_tokens=8).text == greedy


def test_repetition_penalty_changes_what_is_said_again(chat, video):
    penalised = chat.ask(video, "What?", max_new_tokens=8, repetition_penalty=1e4)
    ids = chat.processor.tokenizer(penalised.text, add_special_tokens=False)["input_ids"]
    assert len(set(ids)) == len(ids)


# Scores of options


def test_scores_equal_the_log_probabilities_of_a_full_forward(chat, video):
    question, options = "Which way does it move?", ["left", "to the right side", "up"]
    scores = chat.score(video, question, options)
    prompt = [*chat.processor.prefix_ids(), *chat.processor.question_ids(question)]
    end = chat.processor.tokenizer.convert_tokens_to_ids("<|im_end|>")
    for score, option in zip(scores, options, strict=True):
        ids = [*chat.processor.tokenizer(option, add_special_tokens=False)["input_ids"], end]
        logs = plain_logits(chat, video, prompt + ids).float().log_softmax(-1)
        steps = range(len(prompt) - 1, len(prompt) + len(ids) - 1)
        expected = sum(float(logs[step, token]) for step, token in zip(steps, ids, strict=True))
        assert score.sum == pytest.approx(expected, abs=2e-4)
        assert score.per_token == pytest.approx(expected / len(ids), abs=2e-4)
        assert (score.option, score.tokens) == (option, len(ids))


def test_scores_are_found_by_position_and_by_text_and_one_is_best(chat, video):
    scores = chat.score(video, "Which way does it move?", ["left", "right", "up"])
    assert scores["right"] == scores[1] and len(scores) == 3
    assert scores.best.sum == max(score.sum for score in scores)
    assert sum(scores.probabilities) == pytest.approx(1.0)
    with pytest.raises(KeyError):
        scores["down"]


def test_an_option_scores_the_same_alone_and_beside_longer_ones(chat, video):
    alone = chat.score(video, "Which way?", ["left"])[0]
    beside = chat.score(video, "Which way?", ["left", "to the top right side of the video"])[0]
    assert alone.sum == pytest.approx(beside.sum, abs=1e-4)


# What a user can get wrong


@pytest.mark.parametrize("question", ["", "  \n"])
def test_an_empty_question_is_refused(chat, video, question):
    with pytest.raises(ValueError, match="question is empty"):
        chat.ask(video, question)


@pytest.mark.parametrize("options", [[], ["left", " "]])
def test_empty_options_are_refused(chat, video, options):
    with pytest.raises(ValueError, match="options"):
        chat.score(video, "Which way?", options)


def test_an_open_video_takes_no_start_and_belongs_to_its_model(chat, video):
    with pytest.raises(ValueError, match="open already"):
        chat.open(video, start=1.0)
    with pytest.raises(ValueError, match="another model"):
        VideoChat.random("moving-shapes", seed=1).ask(video, "What?")


def test_a_question_longer_than_the_context_is_refused(chat, video):
    with pytest.raises(ValueError, match=r"context|tokens"):
        chat.ask(video, "red " * 5000)


@pytest.mark.parametrize(
    "wrong",
    [
        {"max_new_tokens": 0},
        {"temperature": 0.0},
        {"top_k": 0},
        {"top_p": 1.5},
        {"repetition_penalty": -1.0},
    ],
)
def test_generation_options_out_of_range_name_the_option(wrong):
    with pytest.raises(ValueError, match=next(iter(wrong))):
        GenerationOptions(**wrong)


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ({"device": "tpu9"}, "unknown device"),
        ({"dtype": "int4"}, "dtype is 'int4'"),
        ({"engine": "abacus"}, "unknown engine 'abacus'"),
    ],
)
def test_unknown_device_dtype_and_engine_are_named(arguments, told):
    with pytest.raises(ValueError, match=told):
        VideoChat("moving-shapes", **arguments)


def test_random_weights_need_a_known_preset_and_a_fitting_tokenizer(tmp_path):
    with pytest.raises(ValueError, match="preset"):
        VideoChat.random("9b")
    with pytest.raises(ValueError, match="needs a tokenizer"):
        VideoChat.random("0.5b")
    with pytest.raises(ValueError, match="no such folder"):
        VideoChat.random("0.5b", tokenizer=tmp_path / "none")


def test_random_weights_are_the_same_for_the_same_seed_alone():
    state = torch.random.get_rng_state()
    prints = [VideoChat.random("moving-shapes", seed=s).engine.fingerprint for s in (0, 0, 1)]
    assert prints[0] == prints[1] != prints[2]
    assert torch.equal(torch.random.get_rng_state(), state)


def test_bfloat16_answers(frames):
    chat = VideoChat.random("moving-shapes")
    chat.model.to(torch.bfloat16)
    answer = VideoChat.from_model(chat.model, chat.processor).ask(frames, "What?", max_new_tokens=3)
    assert answer.tokens["generated"] == 3


# Pieces of text


def stream_of(tokens, decode):
    def ids():
        yield from tokens

    return AnswerStream(ids(), decode, lambda ids, text: text)


def test_incomplete_characters_are_held_back():
    content = "né 動!".encode()

    def decode(ids):
        return bytes(ids).decode(errors="replace")

    pieces = list(stream_of(content, decode))
    assert "".join(pieces) == "né 動!" and not any("\ufffd" in piece for piece in pieces)


def test_outer_blanks_never_reach_the_reader():
    pieces = list(stream_of([" ", " a", " ", "b", " ", "\n"], "".join))
    assert "".join(pieces) == "a b"


def test_the_miniature_says_once_what_it_is(caplog):
    loading.say_what_the_miniature_is.cache_clear()
    with caplog.at_level(logging.WARNING, logger="mobile_videogpt"):
        loading.say_what_the_miniature_is()
        loading.say_what_the_miniature_is()
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "MovingShapes" in caplog.text


def test_a_question_is_read_as_it_was_written(chat):
    """Benchmarks fix their prompts to the last line end."""
    question = "How many objects move?"
    plain, ended = (chat._asking.question_ids(text, ()) for text in (question, f"{question}\n"))
    assert len(ended) > len(plain)
