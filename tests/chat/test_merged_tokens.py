"""A chat that merges tokens: fewer of them, at the positions where they stood."""

import pytest
import torch

from mobile_videogpt.chat import VideoChat
from mobile_videogpt.synthetic import make_clip

QUESTION = "How many objects move?"


@pytest.fixture(scope="module")
def frames():
    return make_clip(0).frames()


@pytest.fixture
def merging(lively_chat):
    """Chats with the same weights that keep a share of the image tokens."""

    def make(keep):
        return VideoChat.from_model(lively_chat.model, lively_chat.processor, merge_tokens=keep)

    return make


def plain_answer(chat, video, question, max_new_tokens):
    """Greedy decoding by full forwards with explicit positions, without any cache."""
    prefix = chat.processor.prefix_ids(num_visual_tokens=video.num_visual_tokens)
    start = len(prefix) - video.num_visual_tokens
    positions = [*range(start), *(start + place for place in video.places)]
    ids = [*prefix, *chat.processor.question_ids(question)]
    new = []
    while len(new) < max_new_tokens:
        rest = len(ids) + len(new) - len(positions)
        row = [*positions, *range(positions[-1] + 1, positions[-1] + 1 + rest)]
        with torch.inference_mode():
            logits = chat.model(
                input_ids=torch.tensor([ids + new]),
                # Without a mask, transformers takes a gap for the start of another sequence.
                attention_mask=torch.ones(1, len(row), dtype=torch.long),
                position_ids=torch.tensor([row]),
                visual_embeds=video.visual_embeds,
                use_cache=False,
            ).logits[0, -1]
        token = int(logits.argmax())
        if token in chat.engine.end_token_ids:
            break
        new.append(token)
    return chat.processor.tokenizer.decode(new, skip_special_tokens=True).strip()


def test_half_of_the_image_tokens_remain(merging, frames):
    chat = merging(0.5)
    answer = chat.ask(frames, QUESTION, max_new_tokens=4)
    config = chat.config
    expected = config.num_image_tokens // 2 + config.num_video_tokens
    assert answer.tokens["visual"] == expected
    assert answer.tokens["prompt"] < config.num_visual_tokens + len(QUESTION)


@pytest.mark.parametrize("keep", [0.75, 0.5, 0.25])
def test_answers_are_those_of_a_full_forward_at_the_old_positions(merging, frames, keep):
    chat = merging(keep)
    video = chat.open(frames)
    assert video.places[-1] == chat.config.num_visual_tokens - 1
    for question in (QUESTION, "Which way does it move?"):
        answer = chat.ask(video, question, max_new_tokens=6)
        assert answer.text == plain_answer(chat, video, question, 6)


def test_scores_are_those_of_a_full_forward_at_the_old_positions(merging, frames):
    chat = merging(0.5)
    video = chat.open(frames)
    scores = chat.score(video, QUESTION, ["two circles", "one"])
    prefix = chat.processor.prefix_ids(num_visual_tokens=video.num_visual_tokens)
    start = len(prefix) - video.num_visual_tokens
    positions = [*range(start), *(start + place for place in video.places)]
    for score in scores:
        option = [*chat.processor.tokenizer(score.option, add_special_tokens=False)["input_ids"]]
        option.append(chat.end_token_ids[0])
        question = chat.processor.question_ids(QUESTION)
        row = [*prefix, *question, *option]
        after = positions[-1] + 1
        at = [*positions, *range(after, after + len(question) + len(option))]
        with torch.inference_mode():
            logits = chat.model(
                input_ids=torch.tensor([row]),
                attention_mask=torch.ones(1, len(row), dtype=torch.long),
                position_ids=torch.tensor([at]),
                visual_embeds=video.visual_embeds,
            ).logits[0, -len(option) - 1 : -1]
        expected = logits.log_softmax(-1)[range(len(option)), option].sum()
        assert score.sum == pytest.approx(float(expected), abs=1e-3)


def test_keeping_everything_is_the_plain_chat(merging, lively_chat, frames):
    assert merging(1.0).ask(frames, QUESTION, max_new_tokens=12).text == (
        lively_chat.ask(frames, QUESTION, max_new_tokens=12).text
    )


def test_merged_and_plain_videos_have_different_keys(merging, lively_chat, frames):
    keys = {chat.open(frames).key for chat in (lively_chat, merging(0.5), merging(0.25))}
    assert len(keys) == 3


@pytest.mark.parametrize("keep", [0, 1.01, -1])
def test_a_share_out_of_range_is_refused_before_any_work(merging, keep):
    with pytest.raises(ValueError, match="share of image tokens"):
        merging(keep)
