"""Each box of the paper's Figure 2 against what the released code computed."""

import pytest
import torch
from golden_cases import Case, cases, strip
from transformers import CLIPVisionConfig

from mobile_videogpt.checkpoints import from_released
from mobile_videogpt.config import MobileVideoGPTConfig, VideoMambaConfig
from mobile_videogpt.models.frame_selection import score_frames, select_frames
from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.models.projector import EfficientTokenProjector, pool_grid
from mobile_videogpt.models.videomamba import BidirectionalMamba, VideoMambaModel


@pytest.mark.parametrize("number", range(5))
def test_adaptive_pooling(number):
    case = Case("adaptive_avg_pooling.npz")
    grid = int(case[f"case{number}.target_shape"][0])
    pooled = pool_grid(case[f"case{number}.input"], grid)
    case.check(f"case{number}.output", pooled)


@pytest.mark.parametrize("name", cases("etprojector_*"))
@torch.no_grad()
def test_efficient_token_projector(name):
    case = Case(name)
    weights = strip(from_released(case.weights("model.mm_projector.")), "video_projector.")
    out_dim, in_dim = weights["ffn.0.weight"].shape
    grid = round(case["output.tokens"].shape[1] ** 0.5)
    projector = EfficientTokenProjector(in_dim, out_dim, grid)
    projector.load_state_dict(weights)
    case.check("output.tokens", projector(case["input.x_int8"].float() / 8))


@pytest.mark.parametrize("name", cases("mamba_mixer_*"))
@torch.no_grad()
def test_bidirectional_mixer(name):
    case = Case(name)
    prefix = "model.vision_tower.vision_encoder.layers.0.mixer."
    weights = strip(from_released(case.weights(prefix)), "video_encoder.layers.0.mixer.")
    channels, state_size = weights["forward_branch.A_log"].shape
    dt_rank = weights["forward_branch.dt_proj.weight"].shape[1]
    mixer = BidirectionalMamba(channels // 2, channels, state_size, dt_rank, conv_kernel=4)
    mixer.load_state_dict(weights)
    case.check("output.hidden_states", mixer(case["input.hidden_states"]))


@pytest.mark.parametrize("name", cases("videomamba_*"))
@torch.no_grad()
def test_videomamba(name):
    case = Case(name)
    weights = strip(from_released(case.weights("model.vision_tower.")), "video_encoder.")
    patch_weight = weights["embeddings.patch_embedding.weight"]
    config = VideoMambaConfig(
        image_size=case["input.video"].shape[-1],
        patch_size=patch_weight.shape[-1],
        hidden_size=patch_weight.shape[0],
        num_hidden_layers=1 + max(int(k.split(".")[1]) for k in weights if k.startswith("layers.")),
    )
    model = VideoMambaModel(config).eval()
    model.load_state_dict(weights)  # strict, although the file holds the unused decoder
    case.check("output.tokens", model(case["input.video"]).last_hidden_state)
    case.check("output.image_tokens", model(case["input.image"]).last_hidden_state)


@torch.no_grad()
def test_image_encoder_stops_at_the_chosen_layer():
    case = Case("clip_tower_h32_l4.npz")
    config = MobileVideoGPTConfig.preset(
        "moving-shapes",
        image_feature_layer=-2,
        image_config=CLIPVisionConfig(
            hidden_size=32,
            intermediate_size=64,
            num_hidden_layers=4,
            num_attention_heads=4,
            image_size=32,
            patch_size=8,
        ),
    )
    model = MobileVideoGPTForConditionalGeneration(config).eval()
    weights = from_released(case.weights("model.image_vision_tower."))
    model.image_encoder.load_state_dict(strip(weights, "image_encoder."))
    features = model.encode_images(case["input.pixel_values"][None])
    case.check("output.patch_features", features[0])


@pytest.mark.parametrize("name", cases("select_frames_seed*"))
def test_frame_selection(name):
    case = Case(name)
    features = case["input.features_int8"].float() * case["input.multiplier"]
    scores = score_frames(features)
    case.check("output.scores", scores)
    k = int(case["input.k"])
    assert torch.equal(select_frames(scores, k), case["output.indices_topk_true"])
    assert torch.equal(select_frames(scores, k, False), case["output.indices_topk_false"])


@pytest.mark.parametrize("kind", ["two_copies", "four_copies", "all_same"])
def test_frame_selection_among_duplicates(kind):
    """Which of equal frames is kept is not defined; the kept scores are."""
    case = Case("select_frames_duplicates.npz")
    features = case[f"{kind}.features_int8"].float() * case["input.multiplier"]
    scores = score_frames(features)
    case.check(f"{kind}.scores", scores)
    for largest, suffix in ((True, "true"), (False, "false")):
        kept = select_frames(scores, 4, largest)
        recorded = case[f"{kind}.indices_topk_{suffix}"]
        recorded_scores = case[f"{kind}.scores"].gather(-1, recorded).sort().values
        torch.testing.assert_close(
            scores.gather(-1, kept).sort().values, recorded_scores, rtol=1e-5, atol=7e-5
        )
        assert kept.tolist() == [sorted(kept[0].tolist())]
