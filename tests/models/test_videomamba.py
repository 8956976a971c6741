"""The video encoder apart from parity: shapes, initialisation, causality of its branches."""

import pytest
import torch

from mobile_videogpt.config import VideoMambaConfig
from mobile_videogpt.models.videomamba import MambaBranch, VideoMambaModel


def tiny(**options) -> VideoMambaConfig:
    sizes = {"image_size": 16, "patch_size": 4, "hidden_size": 16, "num_hidden_layers": 2}
    return VideoMambaConfig(**{**sizes, "state_size": 4, **options})


@pytest.mark.parametrize("frames", [1, 3, 8])
@pytest.mark.parametrize("temporal_kernel", [1, 3])
def test_one_class_token_and_all_patches_of_all_frames(frames, temporal_kernel):
    model = VideoMambaModel(tiny(temporal_kernel=temporal_kernel))
    hidden = model(torch.randn(2, frames, 3, 16, 16)).last_hidden_state
    assert hidden.shape == (2, 1 + frames * 16, 16)


@torch.no_grad()
def test_batch_equals_single_clips():
    model = VideoMambaModel(tiny()).eval()
    clips = torch.randn(3, 8, 3, 16, 16)
    together = model(clips).last_hidden_state
    for clip, hidden in zip(clips, together, strict=True):
        alone = model(clip[None]).last_hidden_state[0]
        torch.testing.assert_close(hidden, alone, rtol=1e-4, atol=1e-5)


@torch.no_grad()
def test_every_token_sees_every_frame():
    model = VideoMambaModel(tiny()).eval()
    clip = torch.randn(1, 8, 3, 16, 16)
    before = model(clip).last_hidden_state
    for frame in (0, 7):
        changed = clip.clone()
        changed[:, frame] += 1.0
        assert ((model(changed).last_hidden_state - before).abs().amax(-1) > 0).all()


@torch.no_grad()
def test_a_branch_sees_only_the_past():
    branch = MambaBranch(channels=6, state_size=3, dt_rank=2, conv_kernel=4)
    torch.nn.init.zeros_(branch.A_log)
    x = torch.randn(1, 10, 6)
    changed = x.clone()
    changed[:, 6:] += 1.0
    assert torch.equal(branch(x)[:, :6], branch(changed)[:, :6])


def test_initialisation_is_mambas():
    model = VideoMambaModel(tiny(position_initializer_range=0.5))
    branch = model.layers[0].mixer.backward_branch
    numbers = torch.arange(1.0, 5.0).log().expand(32, 4)
    torch.testing.assert_close(branch.A_log.detach(), numbers)
    assert (branch.D == 1).all()
    steps = torch.nn.functional.softplus(branch.dt_proj.bias.detach())
    assert steps.min() > 0.9e-3 and steps.max() < 0.11
    assert 0.4 < model.embeddings.position_embedding.std() < 0.6


def test_hidden_states_are_the_residual_stream():
    model = VideoMambaModel(tiny())
    output = model(torch.randn(1, 2, 3, 16, 16), output_hidden_states=True)
    assert len(output.hidden_states) == 3
    torch.testing.assert_close(model.norm(output.hidden_states[-1]), output.last_hidden_state)


@pytest.mark.parametrize(
    ("shape", "message"),
    [
        ((1, 9, 3, 16, 16), "1 to 8 frames at once, but got 9"),
        ((1, 8, 3, 16, 12), r"but got \(1, 8, 3, 16, 12\)"),
        ((8, 3, 16, 16), r"but got \(8, 3, 16, 16\)"),
    ],
)
def test_pixels_that_do_not_fit_are_named(shape, message):
    with pytest.raises(ValueError, match=message):
        VideoMambaModel(tiny())(torch.zeros(shape))


def test_a_still_is_embedded_as_a_clip_of_one_frame_in_any_precision():
    """The frames around it are padding: only the middle of the temporal kernel counts."""
    config = VideoMambaConfig(
        image_size=48, patch_size=8, hidden_size=96, num_hidden_layers=1, temporal_kernel=7
    )
    model = VideoMambaModel(config).eval()
    pixels = torch.randn(3, 1, 3, 48, 48)
    conv = model.embeddings.patch_embedding
    with torch.no_grad():
        padded = conv(pixels.transpose(1, 2))
        still = model.embeddings._embed_patches(pixels.transpose(1, 2))
        torch.testing.assert_close(still, padded, atol=1e-5, rtol=1e-5)
        whole = model(pixels).last_hidden_state
        half = model.to(torch.bfloat16)(pixels).last_hidden_state  # once a segmentation fault
    torch.testing.assert_close(half, whole, atol=0.1, rtol=0.1)
