"""The whole model at miniature size: batches, padding, caches, mistakes, training, saving."""

import pytest
import torch
from small_model import pixels, prompt, random_model, single, tiny_config
from transformers import AutoModel, AutoModelForImageTextToText

import mobile_videogpt
from mobile_videogpt.config import MobileVideoGPTConfig, VideoMambaConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.models.videomamba import VideoMambaModel

# Logits.


@torch.no_grad()
def test_batch_with_left_padding_and_text_only_row_equals_single_rows(model, batch):
    together = model(**batch).logits
    for row in range(3):
        alone = model(**single(batch, row)).logits[0]
        torch.testing.assert_close(together[row, -len(alone) :], alone, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_cached_steps_equal_the_full_forward(model, batch):
    inputs = single(batch, 0)
    ids = inputs.pop("input_ids")
    inputs.pop("attention_mask")
    full = model(input_ids=ids, **inputs).logits
    prefix = ids.shape[1] - 5
    step = model(input_ids=ids[:, :prefix], use_cache=True, **inputs)
    logits = [step.logits]
    for position in range(prefix, ids.shape[1]):
        step = model(
            input_ids=ids[:, position : position + 1], past_key_values=step.past_key_values
        )
        logits.append(step.logits)
    torch.testing.assert_close(torch.cat(logits, 1), full, rtol=1e-4, atol=1e-4)


@torch.no_grad()
def test_pixels_features_and_finished_tokens_are_the_same_video(model, batch):
    inputs = single(batch, 0)
    text = {k: inputs[k] for k in ("input_ids", "attention_mask")}
    encoding = model.encode_video(inputs["image_pixel_values"], inputs["video_pixel_values"])
    from_pixels = model(**inputs).logits
    from_features = model(
        **text, image_features=encoding.image_features, video_features=encoding.video_features
    ).logits
    from_tokens = model(**text, visual_embeds=encoding.visual_embeds).logits
    torch.testing.assert_close(from_features, from_pixels)
    torch.testing.assert_close(from_tokens, from_pixels)


@torch.no_grad()
def test_four_dimensional_masks_reach_the_language_model(model, batch):
    inputs = single(batch, 0)
    length = inputs.pop("attention_mask").shape[1]
    causal = torch.ones(length, length, dtype=torch.bool).tril()[None, None]
    torch.testing.assert_close(
        model(**inputs, attention_mask=causal).logits, model(**inputs).logits, rtol=1e-4, atol=1e-4
    )


@torch.no_grad()
def test_two_videos_in_one_prompt(model):
    ids = prompt(model, 2, 5)[None]
    videos = pixels(2)
    logits = model(input_ids=ids, **videos).logits
    swapped = model(input_ids=ids, **{k: v.flip(0) for k, v in videos.items()}).logits
    assert not torch.allclose(logits, swapped, atol=1e-3)


# Mistakes.


def test_a_missing_video_is_named(model):
    count = model.config.num_visual_tokens
    with pytest.raises(ValueError, match=rf"{count} video placeholders .* but 0 visual tokens"):
        model(input_ids=prompt(model, 1, 3)[None])


def test_more_videos_than_placeholders_are_named(model):
    with pytest.raises(ValueError, match="visual tokens were given"):
        model(input_ids=prompt(model, 1, 3)[None], **pixels(2))


def test_half_a_video_is_named(model):
    half = {"image_pixel_values": pixels(1)["image_pixel_values"]}
    with pytest.raises(ValueError, match="only one of a pair was given"):
        model(input_ids=prompt(model, 1, 3)[None], **half)


def test_a_wrong_number_of_frames_is_named(model):
    few = {k: v[:, :15] for k, v in pixels(1).items()}
    with pytest.raises(ValueError, match="exactly 16 sampled frames"):
        model(input_ids=prompt(model, 1, 3)[None], **few)


# Training and saving.


def test_loss_reaches_every_part_and_checkpointing_changes_nothing(batch):
    model = random_model(tiny_config()).train()
    labels = batch["input_ids"].masked_fill(batch["attention_mask"] == 0, -100)

    def gradients():
        model.zero_grad()
        loss = model(**batch, labels=labels).loss
        loss.backward()
        return {n: p.grad.clone() for n, p in model.named_parameters() if p.grad is not None}

    plain = gradients()
    # Only what lies behind the chosen CLIP layer (-2) is without gradient.
    without = {n for n, _ in model.named_parameters()} - plain.keys()
    assert all("post_layernorm" in n or "encoder.layers.2" in n for n in without)
    model.gradient_checkpointing_enable()
    recomputed = gradients()
    assert recomputed.keys() == plain.keys()
    for name, gradient in plain.items():
        torch.testing.assert_close(recomputed[name], gradient, rtol=1e-4, atol=1e-5)


def test_one_batch_can_be_learnt(batch):
    torch.manual_seed(0)
    model = MobileVideoGPTForConditionalGeneration(tiny_config())
    labels = batch["input_ids"].clone()
    labels[:, :-4] = -100
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-2)
    for _ in range(40):
        loss = model(**batch, labels=labels).loss
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert loss < 0.1


@pytest.mark.parametrize("tied", [True, False])
def test_saving_and_loading_change_nothing(batch, tmp_path, tied):
    config = tiny_config()
    config.text_config.tie_word_embeddings = config.tie_word_embeddings = tied
    model = random_model(config)
    model.save_pretrained(tmp_path)
    loaded, report = AutoModelForImageTextToText.from_pretrained(tmp_path, output_loading_info=True)
    assert type(loaded) is MobileVideoGPTForConditionalGeneration
    assert not any(report.values())
    head, embeddings = loaded.get_output_embeddings(), loaded.get_input_embeddings()
    assert (head.weight is embeddings.weight) == tied
    assert torch.equal(model(**batch).logits, loaded.eval()(**batch).logits)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
@torch.no_grad()
def test_half_precision_model_runs(batch, tmp_path, dtype):
    random_model(tiny_config()).save_pretrained(tmp_path)
    model = MobileVideoGPTForConditionalGeneration.from_pretrained(tmp_path, dtype=dtype)
    logits = model(**batch).logits
    assert logits.dtype == dtype
    assert logits.isfinite().all()


def test_resized_embeddings_stay_tied(batch):
    model = random_model(tiny_config())
    model.resize_token_embeddings(64)
    assert model(**batch).logits.shape[-1] == 64
    assert model.get_output_embeddings().weight is model.get_input_embeddings().weight


def test_auto_classes_know_the_video_encoder(tmp_path):
    config = VideoMambaConfig(
        image_size=8, patch_size=4, hidden_size=8, num_hidden_layers=1, state_size=2
    )
    VideoMambaModel(config).save_pretrained(tmp_path)
    assert type(AutoModel.from_pretrained(tmp_path)) is VideoMambaModel
    assert type(AutoModel.from_config(config)) is VideoMambaModel


def test_public_names_are_found():
    assert mobile_videogpt.MobileVideoGPTConfig is MobileVideoGPTConfig
    found = mobile_videogpt.MobileVideoGPTForConditionalGeneration
    assert found is MobileVideoGPTForConditionalGeneration
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        _ = mobile_videogpt.nonsense
