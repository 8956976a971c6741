"""Visual pipeline, splice, logits, loss and greedy tokens against the released code's numbers."""

import pytest
import torch
from golden_cases import Case, cases
from torch import Tensor
from transformers import CLIPVisionConfig, Qwen2Config

from mobile_videogpt.checkpoints import from_released
from mobile_videogpt.config import MobileVideoGPTConfig, VideoMambaConfig
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration

RELEASED_PLACEHOLDER = -200


class WithRecordedFeatures(MobileVideoGPTForConditionalGeneration):
    """The model with encoders that return recorded features and note what they were shown."""

    image_output: Tensor
    video_output: Tensor
    key_frames: Tensor

    def encode_images(self, image_pixel_values: Tensor) -> Tensor:
        batch, frames = image_pixel_values.shape[:2]
        return self.image_output[: batch * frames].unflatten(0, (batch, frames))

    def encode_video_frames(self, video_pixel_values: Tensor) -> Tensor:
        self.key_frames = video_pixel_values
        batch, frames = video_pixel_values.shape[:2]
        return self.video_output[:batch, 1:].unflatten(1, (frames, -1))


def build_model(case: Case, text_config: Qwen2Config, **options) -> WithRecordedFeatures:
    """A model of the released shape, but with small encoders that are never run."""
    image_width = case["input.context_features_int8"].shape[-1]
    config = MobileVideoGPTConfig(
        image_config=CLIPVisionConfig(
            hidden_size=image_width,
            num_hidden_layers=1,
            num_attention_heads=1,
            intermediate_size=8,
            patch_size=16,
        ),
        video_config=VideoMambaConfig(num_hidden_layers=0),
        text_config=text_config,
        **options,
    )
    model = WithRecordedFeatures(config).eval()
    divisors = (
        case["input.context_features_divisor"],
        case["input.video_encoder_output_divisor"],
    )
    model.image_output = case["input.context_features_int8"].float() / divisors[0]
    model.video_output = case["input.video_encoder_output_int8"].float() / divisors[1]
    return model


def load_partly(model: torch.nn.Module, weights: dict[str, Tensor]) -> None:
    result = model.load_state_dict(weights, strict=False)
    assert not result.unexpected_keys
    assert all("_encoder." in k or "language_model" in k for k in result.missing_keys)


@pytest.mark.parametrize("name", cases("visual_pipeline_*"))
@torch.no_grad()
def test_visual_pipeline(name):
    case = Case(name)
    width = case["output.merged_visual_embeds"].shape[-1]
    text = Qwen2Config(
        hidden_size=width,
        vocab_size=10,
        intermediate_size=8,
        num_hidden_layers=1,
        num_attention_heads=1,
        num_key_value_heads=1,
    )
    model = build_model(
        case, text, video_token_id=5, select_largest=name != "visual_pipeline_seed3.npz"
    )
    load_partly(model, from_released(case.weights("model.")))

    frames = case["input.frames_int8"].float().unflatten(0, (-1, 16))
    encoding = model.encode_video(frames, frames)

    shown = model.key_frames
    assert torch.equal(shown.to(torch.int8), case["output.frames_given_to_video_encoder"])
    recorded_numbers = case["output.frame_numbers_given_to_video_encoder"]
    assert torch.equal(shown[:, :, 0, 0, 0].long(), recorded_numbers)
    assert torch.equal(encoding.kept_frames, recorded_numbers - recorded_numbers // 16 * 16)
    case.check("output.frame_scores", encoding.frame_scores.unflatten(1, (2, 8)).flatten(0, 1))
    case.check("output.merged_visual_embeds", encoding.visual_embeds)


@pytest.fixture(scope="module")
def splice() -> tuple[Case, WithRecordedFeatures]:
    case = Case("splice_seed0.npz")
    heads, kv_heads, layers, intermediate = case["config.heads_kv_layers_intermediate"].tolist()
    text = Qwen2Config(
        vocab_size=int(case["config.vocab_size"]),
        hidden_size=int(case["config.hidden_size"]),
        intermediate_size=intermediate,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        num_key_value_heads=kv_heads,
        tie_word_embeddings=bool(case["config.tie_word_embeddings"]),
        rope_parameters={"rope_type": "default", "rope_theta": float(case["config.rope_theta"])},
        rms_norm_eps=float(case["config.rms_norm_eps"]),
    )
    # No recorded prompt holds id 4, so it can stand for the placeholder.
    model = build_model(case, text, video_token_id=4, pad_token_id=None)
    load_partly(model, from_released(case.weights()))
    model.tie_weights()
    return case, model


def expand_placeholders(ids: Tensor, other: Tensor, fill: int, model) -> Tensor:
    """Put one run of our placeholders (``fill`` in labels or masks) where the released run is."""
    run = ids == RELEASED_PLACEHOLDER
    rows = [
        torch.cat(
            (
                row[: at.nonzero()[0, 0]],
                row.new_full((model.config.num_visual_tokens,), fill),
                row[at.nonzero()[-1, 0] + 1 :],
            )
        )
        for row, at in zip(other, run, strict=True)
    ]
    return torch.stack(rows)


def model_inputs(case: Case, name: str, model: WithRecordedFeatures) -> dict[str, Tensor]:
    ids = case[f"{name}.input_ids"]
    pixels = torch.zeros(ids.shape[0], 16, 3, 2, 2)
    inputs = {
        "input_ids": expand_placeholders(ids, ids, model.config.video_token_id, model),
        "image_pixel_values": pixels,
        "video_pixel_values": pixels,
    }
    if f"{name}.labels" in case.arrays:
        inputs["labels"] = expand_placeholders(ids, case[f"{name}.labels"], -100, model)
        mask = case[f"{name}.attention_mask"].long()
        inputs["attention_mask"] = expand_placeholders(ids, mask, 1, model)
    return inputs


# What the released code does with 8 to 16 placeholders or more and equal rows is well defined;
# with fewer it copies text, drops video tokens or fails, and mixed rows disturb each other.
SPLICE_CASES = [
    "single_with_labels",
    "single_inference",
    "batch2_right_padded",
    "placeholders_last",
    "short_video_12_placeholders",
    "short_video_8_placeholders",
    "twenty_placeholders",
]


@pytest.mark.parametrize("name", SPLICE_CASES)
@torch.no_grad()
def test_splice_logits_and_loss(splice, name):
    case, model = splice
    inputs = model_inputs(case, name, model)
    ids = inputs["input_ids"]
    assert ids.shape[1] == int(case[f"{name}.output.length"])

    embeds = model.get_input_embeddings()(ids)
    visual = model._visual_embeds(
        image_pixel_values=inputs["image_pixel_values"],
        video_pixel_values=inputs["video_pixel_values"],
        image_features=None,
        video_features=None,
        visual_embeds=None,
    )
    embeds = model._place_visual_tokens(ids, embeds, visual)
    if "attention_mask" in inputs:
        assert torch.equal(inputs["attention_mask"].bool(), case[f"{name}.output.attention_mask"])
        assert torch.equal(inputs["labels"], case[f"{name}.output.labels"])
    if f"{name}.output.inputs_embeds" in case.arrays:
        case.check(f"{name}.output.inputs_embeds", embeds)
    else:
        rows = case[f"{name}.output.row_numbers"]
        case.check(f"{name}.output.inputs_embeds_rows", embeds[:, rows])

    output = model(**inputs)
    last6 = output.logits[:, -6:]
    recorded = f"{name}.output.logits_last6"
    if name == "batch2_right_padded":  # what a padding position predicts has no meaning
        last6 = torch.where(inputs["attention_mask"][:, -6:, None].bool(), last6, case[recorded])
    case.check(recorded, last6)
    if "labels" in inputs:
        case.check(f"{name}.output.loss", output.loss)


@pytest.mark.parametrize("name", ["single_inference", "placeholders_last"])
def test_greedy_tokens(splice, name):
    case, model = splice
    inputs = model_inputs(case, name, model)
    recorded = case[f"{name}.output.greedy_tokens"]
    tokens = model.generate(**inputs, max_new_tokens=recorded.shape[1], do_sample=False)
    assert torch.equal(tokens[:, inputs["input_ids"].shape[1] :], recorded)
