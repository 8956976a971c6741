"""The processor: released prompts token for token, labels, batches, saving and loading."""

import json
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from transformers import AutoProcessor, AutoTokenizer

import mobile_videogpt
from mobile_videogpt.config import CLIP_MEAN, IMAGENET_STD, MobileVideoGPTConfig
from mobile_videogpt.processor import MobileVideoGPTProcessor
from mobile_videogpt.processor.messages import read_messages
from mobile_videogpt.synthetic.vocabulary import build_tokenizer
from mobile_videogpt.video import transforms
from mobile_videogpt.video.source import read_video

RECORDED = json.loads((Path(__file__).parent / "data/golden/prompts.json").read_text("utf-8"))
RELEASED_PLACEHOLDER = -200
FRAMES = np.random.default_rng(0).integers(0, 256, (16, 40, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def qwen(qwen_tokenizer_folder) -> MobileVideoGPTProcessor:
    tokenizer = AutoTokenizer.from_pretrained(qwen_tokenizer_folder)
    return MobileVideoGPTProcessor.from_config(MobileVideoGPTConfig.preset("0.5b"), tokenizer)


@pytest.fixture(scope="module")
def small() -> MobileVideoGPTProcessor:
    config = MobileVideoGPTConfig.preset("moving-shapes")
    return MobileVideoGPTProcessor.from_config(config, build_tokenizer())


def _expected(processor, released_ids: list[int]) -> list[int]:
    """The released prompt with our number of placeholders in place of its run."""
    ids: list[int] = []
    for position, token in enumerate(released_ids):
        if token != RELEASED_PLACEHOLDER:
            ids.append(token)
        elif position == 0 or released_ids[position - 1] != RELEASED_PLACEHOLDER:
            ids += [processor.video_token_id] * processor.num_visual_tokens
    return ids


def _user(text: str, video=None) -> dict:
    item = {"type": "video"} if video is None else {"type": "video", "video": video}
    return {"role": "user", "content": [item, {"type": "text", "text": text}]}


@pytest.mark.parametrize("case", RECORDED["inference"], ids=lambda case: case["question"][:20])
def test_prompts_equal_the_recorded_ones(qwen, case):
    expected = _expected(qwen, case["input_ids"])
    assert qwen.prefix_ids() + qwen.question_ids(case["question"]) == expected
    rendered = qwen.apply_chat_template([_user(case["question"])], add_generation_prompt=True)
    assert rendered == case["prompt"].replace("<image>", qwen.video_token, 1).replace("<image>", "")
    assert qwen.prompt.encode_text(rendered) == expected


@pytest.mark.parametrize("case", RECORDED["multi_turn_inference"], ids=lambda c: len(c["turns"]))
def test_dialogues_equal_the_recorded_ones(qwen, case):
    turns, expected = case["turns"], _expected(qwen, case["input_ids"])
    history = list(zip(turns[:-1:2], turns[1::2], strict=True))
    assert qwen.prefix_ids() + qwen.question_ids(turns[-1], history=history) == expected
    messages = [_user(turns[0])]
    for number, text in enumerate(turns[1:]):
        messages.append({"role": "user" if number % 2 else "assistant", "content": text})
    batch = qwen(messages=messages, videos=FRAMES)
    assert batch["input_ids"].tolist() == [expected]


@pytest.mark.parametrize("case", RECORDED["training_stage3"])
def test_training_labels_equal_the_recorded_ones(qwen, case):
    messages = read_messages(case["conversations"], qwen.video_token, qwen.system_prompt)
    ids, labels = qwen.prompt.encode_with_labels(messages, "released")
    assert ids == _expected(qwen, case["input_ids"])
    pairs = zip(case["input_ids"], case["labels"], strict=True)
    recorded = [label for token, label in pairs if token != RELEASED_PLACEHOLDER]
    ours = zip(ids, labels, strict=True)
    assert [label for token, label in ours if token != qwen.video_token_id] == recorded
    # The splice of the released code takes the placeholders' labels out; ours are never learned.
    ours = zip(ids, labels, strict=True)
    assert all(label == -100 for token, label in ours if token == qwen.video_token_id)


@pytest.mark.parametrize("case", [c for c in RECORDED["training_pretrain"] if c["has_image"]])
def test_first_stage_prompts_equal_the_recorded_ones(qwen, case):
    messages = read_messages(case["conversations"], qwen.video_token, qwen.system_prompt)
    if messages[1].text:  # for an empty message they leave out the newline as well
        ids, _ = qwen.prompt.encode_with_labels(messages, "released")
        assert ids == _expected(qwen, case["input_ids"])


def test_a_training_batch_equals_the_recorded_one(qwen):
    case = RECORDED["collator"][0]
    batch = qwen(messages=case["conversations"], videos=[FRAMES, FRAMES], label_style="released")
    assert batch["input_ids"].tolist() == [_expected(qwen, row) for row in case["input_ids"]]
    extra = qwen.num_visual_tokens - 16
    for mask, recorded in zip(
        batch["attention_mask"].tolist(), case["attention_mask"], strict=True
    ):
        assert mask == [1] * extra + recorded
    assert batch["labels"].shape == batch["input_ids"].shape
    assert batch["labels"][0, -5:].tolist() == [-100] * 5


@pytest.mark.parametrize("name", ["qwen", "small"])
def test_answers_alone_are_learned_by_default_style(request, name):
    processor = request.getfixturevalue(name)
    messages = [
        {"role": "user", "content": "what is it?"},
        {"role": "assistant", "content": "a red circle."},
        {"role": "user", "content": "which way?"},
        {"role": "assistant", "content": "to the left."},
    ]
    batch = processor(messages=messages, label_style="answers")
    learned = batch["labels"][0][batch["labels"][0] != -100]
    text = processor.tokenizer.decode(learned).replace(" ", "")
    assert text == "aredcircle.<|im_end|>totheleft.<|im_end|>"
    same = batch["labels"][0] == batch["input_ids"][0]
    assert bool((same | (batch["labels"][0] == -100)).all())


@pytest.mark.parametrize("name", ["qwen", "small"])
def test_prefix_and_question_make_the_whole_prompt(request, name):
    processor = request.getfixturevalue(name)
    for question in ("Which way does it move?", "", "\nstarts with a newline", "  spaces", "a\n\n"):
        whole = processor(messages=[_user(question, FRAMES)])["input_ids"][0].tolist()
        prefix = processor.prefix_ids()
        assert prefix + processor.question_ids(question) == whole
        assert prefix.count(processor.video_token_id) == processor.num_visual_tokens
        assert prefix[-1] == processor.video_token_id


def test_a_system_prompt_of_ones_own(small):
    messages = [{"role": "system", "content": "stop"}, _user("which way?", FRAMES)]
    whole = small(messages=messages)["input_ids"][0].tolist()
    assert small.prefix_ids(system="stop") + small.question_ids("which way?") == whole


def test_the_placeholder_is_refused_in_a_question(small):
    with pytest.raises(ValueError, match="leave it out"):
        small.question_ids("what is <|video_pad|>?")


def test_pixels_have_the_sizes_of_both_encoders(small, qwen):
    config = MobileVideoGPTConfig.preset("moving-shapes")
    image, video = small.pixels(list(FRAMES))
    assert image.shape == (1, 16, 3) + (config.image_config.image_size,) * 2
    assert video.shape == (1, 16, 3) + (config.video_config.image_size,) * 2
    batch = qwen(text="What happens?", videos=FRAMES)
    assert batch["image_pixel_values"].shape == batch["video_pixel_values"].shape
    assert batch["image_pixel_values"].shape == (1, 16, 3, 224, 224)
    assert batch["image_pixel_values"].dtype == torch.float32
    torch.testing.assert_close(batch["video_pixel_values"][0], transforms.video_pixels(FRAMES))
    torch.testing.assert_close(batch["image_pixel_values"][0], transforms.image_pixels(FRAMES))


def test_the_defaults_of_pixels_and_configuration_are_the_same():
    assert transforms.CLIP_MEAN == CLIP_MEAN and transforms.IMAGENET_STD == IMAGENET_STD
    config = MobileVideoGPTConfig()
    assert tuple(config.image_std) == transforms.CLIP_STD
    assert tuple(config.video_mean) == transforms.IMAGENET_MEAN


def test_a_batch_is_padded_on_the_left_for_generation(small):
    texts = ["which way?", "is there a red circle moving to the left?"]
    batch = small(text=texts, videos=[FRAMES, FRAMES])
    short = small(text=texts[0], videos=FRAMES)["input_ids"][0]
    assert batch["input_ids"].shape == batch["attention_mask"].shape
    padding = batch["input_ids"].shape[1] - len(short)
    assert padding > 0
    assert batch["input_ids"][0, :padding].eq(small.tokenizer.pad_token_id).all()
    assert torch.equal(batch["input_ids"][0, padding:], short)
    assert batch["attention_mask"][0].tolist() == [0] * padding + [1] * len(short)
    right = small(text=texts, videos=[FRAMES, FRAMES], padding_side="right")
    assert right["attention_mask"][0].tolist() == [1] * len(short) + [0] * padding


def test_text_only_rows_stand_beside_videos(small):
    messages = [[{"role": "user", "content": "is red a color?"}], [_user("which way?", FRAMES)]]
    batch = small(messages=messages)
    placeholders = (batch["input_ids"] == small.video_token_id).sum(-1).tolist()
    assert placeholders == [0, small.num_visual_tokens]
    assert batch["image_pixel_values"].shape[0] == 1
    alone = small(text="is red a color?")
    assert set(alone.keys()) == {"input_ids", "attention_mask"}


def test_all_kinds_of_videos_give_the_same_batch(small):
    images = [Image.fromarray(frame) for frame in FRAMES]
    clip = read_video(FRAMES)
    expected = small(text="which way?", videos=FRAMES)
    for video in (list(FRAMES), images, clip, torch.from_numpy(FRAMES), [FRAMES], [clip], [[clip]]):
        batch = small(text="which way?", videos=video)
        assert torch.equal(batch["image_pixel_values"], expected["image_pixel_values"])
        assert torch.equal(batch["input_ids"], expected["input_ids"])


def test_videos_in_messages_and_beside_them_keep_their_order(small):
    dark, light = np.zeros_like(FRAMES), np.full_like(FRAMES, 255)
    messages = [[_user("one")], [_user("two", light)]]
    batch = small(messages=messages, videos=dark)
    means = batch["video_pixel_values"].mean(dim=(1, 2, 3, 4))
    assert means[0] < 0 < means[1]


def test_the_chat_template_makes_tensors_too(small):
    messages = [_user("which way?", FRAMES)]
    batch = small.apply_chat_template(
        messages, tokenize=True, return_dict=True, add_generation_prompt=True
    )
    assert batch["input_ids"].tolist() == small(messages=messages)["input_ids"].tolist()
    assert torch.equal(batch["video_pixel_values"], small.pixels(FRAMES)[1])


def test_a_prompt_whose_placeholders_are_grown_already(small):
    once = small(messages=[_user("which way?", FRAMES)])
    pads = small.video_token * small.num_visual_tokens
    text = small.apply_chat_template([_user("which way?")], add_generation_prompt=True)
    grown = small(text=text.replace(small.video_token, pads), videos=FRAMES)
    assert torch.equal(once["input_ids"], grown["input_ids"])


@pytest.mark.parametrize(
    "arguments, named",
    [
        ({}, "text or messages"),
        ({"text": "a", "messages": "b"}, "text or messages"),
        ({"text": "<|video_pad|>\nwhich way?"}, "placeholders for 1 videos, but 0"),
        ({"text": "<|im_start|>user", "videos": FRAMES}, "placeholders for 0 videos, but 1"),
        ({"text": ["a", "b"], "videos": FRAMES}, "one video for each"),
        ({"messages": [_user("a")]}, "but 0 were given"),
        ({"messages": [{"role": "robot", "content": "a"}]}, "'robot' is unknown"),
        ({"messages": [{"content": "a"}]}, "no role"),
        ({"messages": []}, "empty"),
        ({"messages": [{"role": "user", "content": [{"type": "sound"}]}]}, "'sound'"),
        ({"messages": "a", "label_style": "all"}, "label_style 'all'"),
        ({"text": "<|im_start|>user", "label_style": "answers"}, "give messages"),
        ({"text": "a", "images": list(FRAMES)}, "came with 16 images"),
        ({"text": "a", "audio": FRAMES}, "audio is not supported"),
        ({"text": "a", "padding_side": "top"}, "'top'"),
        ({"text": "a", "videos": FRAMES, "max_length": 40}, "max_length 40"),
        ({"text": "a", "videos": read_video(FRAMES, count=8)}, "count=16"),
    ],
)
def test_nonsense_is_named_in_one_sentence(small, arguments, named):
    with pytest.raises(ValueError, match=named) as caught:
        small(**arguments)
    assert "\n" not in str(caught.value)


def test_unknown_keywords_are_errors(small):
    with pytest.raises(TypeError, match="temperature"):
        small(text="a", temperature=1)


def test_long_rows_are_cut_at_the_end(small):
    messages = [
        {"role": "user", "content": "what is it?"},
        {"role": "assistant", "content": "a red circle"},
    ]
    whole = small(messages=messages, label_style="answers")
    cut = small(messages=messages, label_style="answers", max_length=10)
    assert torch.equal(cut["input_ids"], whole["input_ids"][:, :10])
    assert cut["labels"].shape == (1, 10)


def test_a_tokenizer_without_the_placeholder_is_refused(small, qwen):
    with pytest.raises(ValueError, match="nothing"):
        MobileVideoGPTProcessor(small.tokenizer, video_token="<|nothing|>")
    with pytest.raises(ValueError, match="no token 151656"):
        MobileVideoGPTProcessor.from_config(MobileVideoGPTConfig.preset("0.5b"), small.tokenizer)


@pytest.mark.parametrize("name", ["qwen", "small"])
def test_saved_and_loaded_it_does_the_same(request, tmp_path, name):
    processor = request.getfixturevalue(name)
    processor.save_pretrained(tmp_path)
    assert (tmp_path / "chat_template.jinja").exists()
    for loaded in (
        MobileVideoGPTProcessor.from_pretrained(tmp_path),
        AutoProcessor.from_pretrained(tmp_path),
    ):
        assert type(loaded) is MobileVideoGPTProcessor
        assert loaded.to_dict() == processor.to_dict()
        assert loaded.chat_template == processor.chat_template
        messages = [_user("Which way does it move?", FRAMES)]
        before, after = processor(messages=messages), loaded(messages=messages)
        assert before.keys() == after.keys()
        assert all(torch.equal(before[key], after[key]) for key in before)


def test_the_auto_class_knows_it_after_importing_the_package_alone(small, tmp_path):
    small.save_pretrained(tmp_path)
    script = (
        "import sys, mobile_videogpt\n"
        "assert not {'torch', 'transformers', 'av'} & set(sys.modules), 'import is not cheap'\n"
        "from transformers import AutoProcessor\n"
        f"print(type(AutoProcessor.from_pretrained({str(tmp_path)!r})).__name__)\n"
    )
    source = str(Path(mobile_videogpt.__file__).parents[1])
    done = subprocess.run(
        [sys.executable, "-c", script],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": source, "PATH": ""},
        check=False,
    )
    assert done.stdout.strip() == "MobileVideoGPTProcessor", done.stderr


def test_the_public_name(small):
    assert mobile_videogpt.MobileVideoGPTProcessor is MobileVideoGPTProcessor
    pixels = ["image_pixel_values", "video_pixel_values", "still_pixel_values"]
    assert small.model_input_names[-3:] == pixels
    assert small.decode(small.question_ids("which way?"), skip_special_tokens=True)


def test_without_tensors_ids_are_lists(small):
    batch = small(text="which way?", return_tensors=None)
    assert isinstance(batch["input_ids"][0], list)
