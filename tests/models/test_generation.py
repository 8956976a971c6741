"""Generated text: batches, beams, samples, caches, streamers."""

import pytest
import torch
from small_model import left_padded, pixels, prompt, single

NEW_TOKENS = 6


def generate(model, inputs, **options):
    ids = model.generate(**inputs, max_new_tokens=NEW_TOKENS, min_new_tokens=NEW_TOKENS, **options)
    return ids[:, inputs["input_ids"].shape[1] :]


@pytest.mark.parametrize(
    "options",
    [
        {"do_sample": False},
        {"do_sample": False, "use_cache": False},
        {"do_sample": False, "cache_implementation": "static"},
        {"num_beams": 3, "do_sample": False},
    ],
    ids=["greedy", "without_cache", "static_cache", "beams"],
)
def test_generation_in_a_batch_equals_single_rows(model, batch, options):
    together = generate(model, batch, **options)
    for row in range(3):
        assert torch.equal(together[row], generate(model, single(batch, row), **options)[0])


@torch.no_grad()
def test_the_next_word_depends_on_the_video(model, batch):
    inputs = single(batch, 0)
    other = {**inputs, **pixels(1, seed=9)}
    words = model(**inputs, logits_to_keep=1).logits
    assert words.shape[1] == 1
    assert not torch.allclose(words, model(**other, logits_to_keep=1).logits, atol=1e-2)


def test_several_samples_per_row_see_their_own_video(model, batch):
    torch.manual_seed(0)
    samples = generate(model, batch, do_sample=True, num_return_sequences=2, top_k=1)
    greedy = generate(model, batch, do_sample=False)
    assert torch.equal(samples, greedy.repeat_interleave(2, dim=0))


def test_beams_with_two_videos_in_one_row(model):
    rows = [prompt(model, 2, 5, 1), prompt(model, 1, 5, 2)]
    videos = pixels(3)
    together = generate(model, {**left_padded(rows), **videos}, num_beams=2)
    first = generate(
        model, {"input_ids": rows[0][None], **{k: v[:2] for k, v in videos.items()}}, num_beams=2
    )
    assert torch.equal(together[:1], first)


def test_a_video_is_encoded_once_per_generation(model, batch, monkeypatch):
    calls = []
    encode = model.encode_images
    monkeypatch.setattr(model, "encode_images", lambda p: calls.append(p.shape) or encode(p))
    generate(model, batch, num_beams=3, use_cache=False)
    assert calls == [batch["image_pixel_values"].shape]


def test_generation_goes_on_from_a_cached_visual_prefix(model, batch):
    inputs = single(batch, 0)
    prefix = 2 + model.config.num_visual_tokens
    with torch.no_grad():
        pixel_values = {k: v for k, v in inputs.items() if "pixel" in k}
        cache = model(input_ids=inputs["input_ids"][:, :prefix], use_cache=True, **pixel_values)
    text = {k: inputs[k] for k in ("input_ids", "attention_mask")}
    continued = generate(model, {**text, "past_key_values": cache.past_key_values})
    assert torch.equal(continued, generate(model, inputs))


def test_streamers_get_every_token(model, batch):
    class Collector:
        def __init__(self):
            self.tokens = []

        def put(self, value):
            self.tokens.append(value.flatten().tolist())

        def end(self):
            self.ended = True

    collector = Collector()
    tokens = generate(model, single(batch, 0), streamer=collector)
    assert [t for [t] in collector.tokens[1:]] == tokens[0].tolist()
    assert collector.ended


def test_prompt_lookup_gives_what_greedy_decoding_gives(model):
    # The candidates may hold placeholders: past the prefill they are tokens like any other.
    row = {"input_ids": prompt(model, 1, 9, 4)[None], **pixels(1)}
    greedy = generate(model, row, do_sample=False)
    assert torch.equal(generate(model, row, do_sample=False, prompt_lookup_num_tokens=3), greedy)
