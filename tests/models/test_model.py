"""The whole model at miniature size: batches, caches, padding, generation, saving."""

import copy

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForImageTextToText

import mobile_videogpt
from mobile_videogpt.config import PRESETS, MobileVideoGPTConfig, VideoMambaConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.models.projector import MLPProjector
from mobile_videogpt.models.videomamba import VideoMambaModel

NEW_TOKENS = 6


def tiny_config(**options) -> MobileVideoGPTConfig:
    """Two layers of everything, so that every test takes a fraction of a second."""
    return MobileVideoGPTConfig(
        **{
            "image_config": {
                "image_size": 16,
                "patch_size": 4,
                "hidden_size": 16,
                "intermediate_size": 32,
                "num_hidden_layers": 3,
                "num_attention_heads": 2,
            },
            "video_config": {
                "image_size": 16,
                "patch_size": 4,
                "hidden_size": 16,
                "num_hidden_layers": 2,
                "state_size": 4,
            },
            "text_config": {
                "vocab_size": 60,
                "hidden_size": 32,
                "intermediate_size": 48,
                "num_hidden_layers": 2,
                "num_attention_heads": 4,
                "num_key_value_heads": 2,
                "tie_word_embeddings": True,
                "eos_token_id": 2,
                "max_position_embeddings": 512,
            },
            "image_token_grid": 2,
            "video_pool_grid": 2,
            "video_token_grid": 2,
            "video_token_id": 5,
            "pad_token_id": 0,
            **options,
        }
    )


def random_model(config: MobileVideoGPTConfig) -> MobileVideoGPTForConditionalGeneration:
    """Random weights large enough that the answer depends on every part of the input."""
    torch.manual_seed(0)
    model = MobileVideoGPTForConditionalGeneration(config).eval()
    with torch.no_grad():
        for parameter in (
            *model.language_model.model.layers.parameters(),
            *model.image_projector.parameters(),
            *model.video_projector.parameters(),
        ):
            parameter.mul_(5 if parameter.dim() > 1 else 1)
    return model


@pytest.fixture(scope="module")
def model() -> MobileVideoGPTForConditionalGeneration:
    return random_model(tiny_config())


def pixels(videos: int, seed: int = 0) -> dict[str, torch.Tensor]:
    generator = torch.Generator().manual_seed(seed)
    shape = (videos, 16, 3, 16, 16)
    return {
        "image_pixel_values": torch.randn(shape, generator=generator),
        "video_pixel_values": torch.randn(shape, generator=generator),
    }


def prompt(model, videos: int, words: int, seed: int = 0) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    visual = torch.full((model.config.num_visual_tokens,), model.config.video_token_id)
    text = torch.randint(6, 60, (words,), generator=generator)
    return torch.cat((torch.tensor([1, 7]), *[visual] * videos, text))


def left_padded(rows: list[torch.Tensor]) -> dict[str, torch.Tensor]:
    length = max(len(row) for row in rows)
    return {
        "input_ids": torch.stack([torch.nn.functional.pad(r, (length - len(r), 0)) for r in rows]),
        "attention_mask": torch.stack(
            [torch.nn.functional.pad(torch.ones_like(r), (length - len(r), 0)) for r in rows]
        ),
    }


@pytest.fixture(scope="module")
def batch(model) -> dict[str, torch.Tensor]:
    """A video, text only, and another video with a shorter question."""
    rows = [prompt(model, 1, 9, 1), prompt(model, 0, 30, 2), prompt(model, 1, 4, 3)]
    return {**left_padded(rows), **pixels(2)}


def single(batch: dict[str, torch.Tensor], row: int) -> dict[str, torch.Tensor]:
    """One row of the batch, without padding, with its own video if it has one."""
    ids = batch["input_ids"][row][batch["attention_mask"][row].bool()][None]
    inputs = {"input_ids": ids, "attention_mask": torch.ones_like(ids)}
    video = {0: 0, 2: 1}.get(row)
    if video is None:
        return inputs
    return {**inputs, **{k: v[video : video + 1] for k, v in pixels(2).items()}}


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
def test_only_the_kept_frames_reach_the_video_encoder(model):
    inputs = pixels(1)
    encoding = model.encode_video(**inputs)
    kept = encoding.kept_frames[0].tolist()
    assert len(kept) == model.config.num_kept_frames
    assert sum(frame < 8 for frame in kept) == 4
    changed = {k: v.clone() for k, v in inputs.items()}
    for frame in set(range(16)) - set(kept):
        changed["video_pixel_values"][:, frame] = 9.0
    again = model.encode_video(**changed)
    assert torch.equal(again.visual_embeds, encoding.visual_embeds)
    changed["video_pixel_values"][:, kept[0]] = 9.0
    assert not torch.equal(model.encode_video(**changed).visual_embeds, encoding.visual_embeds)


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


# Selection, layouts, projectors.


@pytest.mark.parametrize("selection", ["per_chunk", "global", "uniform"])
@torch.no_grad()
def test_selection_of_the_configuration(selection):
    model = random_model(tiny_config(frame_selection=selection))
    features = torch.zeros(1, 16, 16, 16)
    features[:, 8:, :, 0] = 5.0  # the second half attracts all attention
    scores, kept = model.select(features)
    assert scores.shape == (1, 16)
    expected = {
        "per_chunk": [0, 1, 2, 3, 8, 9, 10, 11],
        "global": list(range(8, 16)),
        "uniform": list(range(0, 16, 2)),
    }
    assert kept.tolist() == [expected[selection]]


@torch.no_grad()
def test_random_selection_keeps_frames_of_every_chunk_and_draws_anew():
    model = random_model(tiny_config(frame_selection="random"))
    torch.manual_seed(3)
    scores, kept = model.select(torch.zeros(64, 16, 16, 16))
    assert scores.shape == (64, 16)
    assert ((kept < 8).sum(-1) == 4).all()
    assert (kept.diff(dim=-1) > 0).all()
    assert len(kept.unique(dim=0)) > 32
    share = torch.nn.functional.one_hot(kept, 16).float().mean((0, 1)) * 8
    assert share.min() > 0.25 and share.max() < 0.75  # half of the videos keep a frame


@pytest.mark.parametrize("encoders", ["image", "video"])
@torch.no_grad()
def test_one_encoder_alone_gives_its_own_tokens_only(encoders):
    both = random_model(tiny_config(frame_selection="uniform"))
    alone = random_model(tiny_config(frame_selection="uniform", encoders=encoders))
    alone.load_state_dict(both.state_dict())
    left_out = alone.video_encoder if encoders == "image" else alone.image_encoder
    left_out.register_forward_hook(lambda *_: pytest.fail(f"{encoders} alone runs the other"))
    videos = pixels(2)
    expected = both.encode_video(**videos).visual_embeds
    images = both.config.num_image_tokens
    expected = expected[:, :images] if encoders == "image" else expected[:, images:]
    assert alone.config.num_visual_tokens == expected.shape[1]
    torch.testing.assert_close(alone.encode_video(**videos).visual_embeds, expected)


@torch.no_grad()
def test_every_pass_of_the_video_encoder_sees_every_second_frame():
    model = random_model(
        tiny_config(frames_kept_per_chunk=8, video_passes=2, video_token_layout="paper")
    )
    frames = pixels(2)["video_pixel_values"]
    features = model.encode_video_frames(frames)
    for first in (0, 1):
        seen = model.video_encoder(frames[:, first::2]).last_hidden_state[:, 1:]
        torch.testing.assert_close(features[:, first::2].flatten(1, 2), seen)


@pytest.mark.parametrize("layout", ["released", "paper"])
@pytest.mark.parametrize("projector", ["etp", "mlp"])
@torch.no_grad()
def test_token_counts_are_those_of_the_configuration(layout, projector):
    config = tiny_config(video_token_layout=layout, projector_type=projector)
    model = MobileVideoGPTForConditionalGeneration(config)
    assert isinstance(model.image_projector, MLPProjector) == (projector == "mlp")
    embeds = model.encode_video(**pixels(2)).visual_embeds
    assert embeds.shape == (2, config.num_visual_tokens, 32)


@torch.no_grad()
def test_paper_layout_keeps_frames_apart():
    model = random_model(tiny_config(video_token_layout="paper"))
    images, videos = torch.randn(1, 16, 16, 16), torch.randn(1, 8, 16, 16)
    tokens = model.project_features(images, videos)
    videos[:, 3] += 1.0
    changed = (model.project_features(images, videos) != tokens).any(-1)[0]
    per_frame = model.config.video_token_grid**2
    first = model.config.num_image_tokens + 3 * per_frame
    assert changed.nonzero().flatten().tolist() == list(range(first, first + per_frame))


@pytest.mark.parametrize(
    ("preset", "visual_tokens"),
    [("0.5b", 2402), ("1.5b", 2402), ("0.5b-paper", 2696), ("1.5b-paper", 2696)],
)
def test_visual_tokens_of_the_presets(preset, visual_tokens):
    config = MobileVideoGPTConfig.preset(preset)
    assert config.num_image_tokens == 2304
    assert config.num_visual_tokens == visual_tokens


@pytest.mark.parametrize(("preset", "released"), [("0.5b", 656605056), ("1.5b", 1710275072)])
def test_parameters_of_the_presets(preset, released):
    """The released count includes a decoder of VideoMamba's pretraining that nothing uses."""
    with torch.device("meta"):
        model = MobileVideoGPTForConditionalGeneration(MobileVideoGPTConfig.preset(preset))
    unused = 512 * 576 + 3 * 512
    assert sum(weight.numel() for weight in model.parameters()) == released - unused


def test_presets_are_fresh_and_survive_a_round_trip(tmp_path):
    for name in PRESETS:
        config = MobileVideoGPTConfig.preset(name)
        config.save_pretrained(tmp_path)
        loaded = AutoConfig.from_pretrained(tmp_path)
        assert type(loaded) is MobileVideoGPTConfig
        assert loaded.to_diff_dict() == config.to_diff_dict()
        assert copy.deepcopy(config).to_dict() == config.to_dict()
        config.text_config.vocab_size = 7
        assert MobileVideoGPTConfig.preset(name).text_config.vocab_size != 7


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"frame_selection": "best"}, "frame_selection is 'best'"),
        ({"num_frames": 12}, "num_frames 12 is not a multiple"),
        ({"frames_kept_per_chunk": 9}, "frames_kept_per_chunk 9"),
        ({"frames_kept_per_chunk": 8}, "16 kept frames do not fit"),
        ({"frames_kept_per_chunk": 3}, "square number of tokens"),
        ({"encoders": "none"}, "encoders is 'none'"),
        ({"encoders": "video"}, "frame_selection 'per_chunk' needs the image encoder"),
        ({"video_passes": 3}, "video_passes 3 must divide the 8 kept frames"),
    ],
)
def test_configurations_that_cannot_work_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        tiny_config(**options)


def test_an_unknown_preset_is_refused():
    with pytest.raises(ValueError, match=r"Unknown preset '7b'; choose one of .*0\.5b"):
        MobileVideoGPTConfig.preset("7b")


# Generation.


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


def test_prompt_lookup_gives_what_greedy_decoding_gives(model):
    # The candidates may hold placeholders: past the prefill they are tokens like any other.
    row = {"input_ids": prompt(model, 1, 9, 4)[None], **pixels(1)}
    greedy = generate(model, row, do_sample=False)
    assert torch.equal(generate(model, row, do_sample=False, prompt_lookup_num_tokens=3), greedy)
