"""From pixels to visual tokens: selection, layouts, projectors."""

import pytest
import torch
from small_model import pixels, random_model, tiny_config

from mobile_videogpt.models.mobile_videogpt import MobileVideoGPTForConditionalGeneration
from mobile_videogpt.models.projector import MLPProjector


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
