"""Single pictures: placeholders, either branch, mixed batches, generation, old vocabularies."""

import json

import numpy as np
import pytest
import torch
from tokenizers import Tokenizer
from transformers import PreTrainedTokenizerFast

from mobile_videogpt.checkpoints import load_model
from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.processor import MobileVideoGPTProcessor
from mobile_videogpt.synthetic.vocabulary import WORDS, build_tokenizer

RNG = np.random.default_rng(0)
PICTURE = RNG.integers(0, 256, (40, 64, 3), dtype=np.uint8)
OTHER = RNG.integers(0, 256, (40, 64, 3), dtype=np.uint8)
FRAMES = RNG.integers(0, 256, (16, 40, 64, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def model() -> MobileVideoGPTForConditionalGeneration:
    torch.manual_seed(0)
    return MobileVideoGPTForConditionalGeneration(
        MobileVideoGPTConfig.preset("moving-shapes")
    ).eval()


@pytest.fixture(scope="module")
def processor(model) -> MobileVideoGPTProcessor:
    return MobileVideoGPTProcessor.from_config(model.config, build_tokenizer())


def asked(*media: dict, text: str = "what is it?") -> list[dict]:
    return [{"role": "user", "content": [*media, {"type": "text", "text": text}]}]


def image(picture=PICTURE) -> dict:
    return {"type": "image", "image": picture}


def video() -> dict:
    return {"type": "video", "video": FRAMES}


@torch.no_grad()
def logits(model, batch, **options) -> torch.Tensor:
    return model(**batch, **options).logits


def test_the_placeholder_is_qwens_and_the_miniatures_last_token(model):
    assert MobileVideoGPTConfig.preset("0.5b").image_token_id == 151655
    tokenizer = build_tokenizer()
    assert tokenizer.convert_ids_to_tokens(model.config.image_token_id) == "<|image_pad|>"
    assert model.config.image_token_id == len(tokenizer) - 1


@pytest.mark.parametrize("branch, grid", [("image", 2), ("video", 3)])
def test_a_still_takes_the_grid_of_its_branch(model, processor, branch, grid):
    batch = processor(messages=asked(image()), still_branch=branch)
    assert int((batch["input_ids"] == model.config.image_token_id).sum()) == grid**2
    tokens = model.encode_stills(batch["still_pixel_values"], branch)
    assert tokens.shape == (1, grid**2, model.config.text_config.hidden_size)
    assert model.config.num_still_tokens(branch) == grid**2
    assert logits(model, batch, still_branch=branch).isfinite().all()


def test_full_sizes_take_the_released_numbers():
    config = MobileVideoGPTConfig.preset("0.5b")
    assert (config.num_still_tokens("image"), config.num_still_tokens("video")) == (144, 49)
    with pytest.raises(ValueError, match="'sound'"):
        config.num_still_tokens("sound")


def test_one_branch_does_not_ask_the_other(model, processor):
    batch = processor(messages=asked(image()), still_branch="image")
    batch["still_pixel_values"].requires_grad_()
    model.zero_grad()
    model(**batch).logits.sum().backward()
    assert all(p.grad is None for p in model.video_encoder.parameters())
    assert all(p.grad is not None for p in model.image_projector.parameters())
    model.zero_grad()


def test_rows_of_a_mixed_batch_are_as_they_are_alone(model, processor):
    rows = [
        asked(video()),
        asked(image()),
        asked(text="which way does it move?"),
        asked(image(OTHER), video(), image()),
    ]
    batch = processor(messages=rows, padding_side="right")
    assert batch["image_pixel_values"].shape[0] == 2 and batch["still_pixel_values"].shape[0] == 3
    together = logits(model, batch)
    for row, conversation in enumerate(rows):
        alone = logits(model, processor(messages=conversation))
        length = alone.shape[1]
        torch.testing.assert_close(together[row, :length], alone[0], atol=1e-5, rtol=1e-4)


def test_pictures_handed_over_apart_are_the_same(processor):
    inside = processor(messages=asked(image(), image(OTHER)))
    apart = processor(messages=asked({"type": "image"}, {"type": "image"}), images=[PICTURE, OTHER])
    bare = processor(text="what is it?", images=PICTURE)
    for key in inside:
        assert torch.equal(inside[key], apart[key])
    assert torch.equal(bare["input_ids"], processor(messages=asked(image()))["input_ids"])


def test_the_template_writes_what_the_messages_give(processor):
    rendered = processor.apply_chat_template(asked(video(), image()), add_generation_prompt=True)
    again = processor(text=rendered, videos=FRAMES, images=PICTURE)
    direct = processor(messages=asked(video(), image()))
    assert torch.equal(again["input_ids"], direct["input_ids"])


def test_placeholders_of_stills_are_never_learned(processor):
    messages = [*asked(image()), {"role": "assistant", "content": "a red circle"}]
    for style in ("answers", "released"):
        batch = processor(messages=messages, label_style=style)
        learned = batch["labels"][batch["input_ids"] == processor.still_token_id]
        assert (learned == -100).all()


def test_a_still_too_many_is_named(model, processor):
    with pytest.raises(ValueError, match="placeholders for 1 images, but 0"):
        processor(messages=asked({"type": "image"}))
    batch = processor(messages=asked(image()))
    with pytest.raises(ValueError, match=r"4 still placeholders .* each still needs 4"):
        model(input_ids=batch["input_ids"])


def test_generation_encodes_a_still_once_and_repeats_it_for_beams(model, processor, monkeypatch):
    calls = []
    original = type(model).encode_stills

    def counted(self, pixels, branch="image"):
        calls.append(pixels.shape)
        return original(self, pixels, branch)

    monkeypatch.setattr(type(model), "encode_stills", counted)
    batch = processor(messages=[asked(image(), video()), asked(image(OTHER))])
    out = model.generate(**batch, max_new_tokens=3, num_beams=2, do_sample=False)
    assert len(calls) == 1
    assert out.shape[0] == 2


def test_a_vocabulary_from_before_stills_works_until_a_still_is_used():
    model, processor = load_model("moving-shapes")
    raw = json.loads(processor.tokenizer.backend_tokenizer.to_str())
    del raw["model"]["vocab"]["<|image_pad|>"]
    raw["added_tokens"] = [t for t in raw["added_tokens"] if t["content"] != "<|image_pad|>"]
    old = PreTrainedTokenizerFast(
        tokenizer_object=Tokenizer.from_str(json.dumps(raw)),
        unk_token="<unk>",
        pad_token="<|endoftext|>",
    )
    processor = MobileVideoGPTProcessor.from_config(model.config, old)
    assert processor.still_token_id is None
    assert "image" not in processor.chat_template
    batch = processor(messages=asked(video()))
    assert logits(model, batch).isfinite().all()
    with pytest.raises(ValueError, match="no placeholder for stills"):
        processor(messages=asked(image()))


def test_every_word_keeps_its_number():
    tokenizer = build_tokenizer()
    assert tokenizer.convert_tokens_to_ids([WORDS[0], WORDS[-1]]) == [11, 188]


def test_idle_projectors_are_touched_in_training_and_only_there(model, processor):
    batch = processor(
        messages=[*asked(), {"role": "assistant", "content": "red"}], label_style="answers"
    )
    try:
        model.train().requires_grad_(False)
        for part in (model.image_projector, model.video_projector):
            part.requires_grad_(True)
        model(**batch).loss.backward()
        for part in (model.image_projector, model.video_projector):
            assert all(float(p.grad.abs().sum()) == 0 for p in part.parameters())
    finally:
        model.zero_grad()
        model.requires_grad_(True).eval()
