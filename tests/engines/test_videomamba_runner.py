"""The compiled loops between a video encoder's products, beside the encoder itself."""

import threading

import pytest
import torch

from mobile_videogpt.config import VideoMambaConfig
from mobile_videogpt.engines import videomamba
from mobile_videogpt.engines.team import run_together
from mobile_videogpt.engines.videomamba import VideoMambaRunner, open_runner
from mobile_videogpt.engines.videomamba_weights import runner_tensors, write_runner_tensors
from mobile_videogpt.models import scan_kernel
from mobile_videogpt.models.videomamba import VideoMambaModel

SMALL = {"image_size": 32, "patch_size": 8, "num_hidden_layers": 3, "num_frames": 4}


@pytest.fixture(autouse=True)
def few_rows_at_once(monkeypatch):
    """So that a small clip has several parts, the last of them shorter."""
    pytest.importorskip("numba")
    monkeypatch.setattr(videomamba, "ROWS_AT_ONCE", 10)


def encoder(seed=0, **sizes):
    """A random encoder in which everything matters: no weight is one, no bias zero."""
    torch.manual_seed(seed)
    model = VideoMambaModel(VideoMambaConfig(**{**SMALL, "hidden_size": 24, **sizes})).eval()
    with torch.no_grad():
        for name, weight in model.named_parameters():
            if not name.endswith(("A_log", "dt_proj.bias")):
                weight.add_(0.1 * torch.randn_like(weight))
    return model


def compare(model, frames=4, is_half=False, clips=1):
    pixels = torch.randn(clips, frames, 3, 32, 32)
    run = VideoMambaRunner(runner_tensors(model, is_half), model.config)
    with torch.inference_mode():
        expected = model(pixels).last_hidden_state
    found = run(pixels)
    assert found.shape == expected.shape and found.dtype == torch.float32
    return ((found - expected).norm() / expected.norm()).item()


def error_of(frames=4, is_half=False, clips=1, **sizes):
    return compare(encoder(**sizes), frames, is_half, clips)


@pytest.mark.parametrize("frames", [1, 3, 4])
def test_it_is_the_encoder_in_float32(threads, frames):
    assert error_of(frames) < 1e-5


def test_every_clip_of_a_batch(threads):
    assert error_of(clips=3) < 1e-5


@pytest.mark.parametrize(
    "sizes",
    [
        {"state_size": 4, "hidden_size": 40},
        {"state_size": 5, "dt_rank": 7},
        {"expand": 4, "hidden_size": 20},
        {"temporal_kernel": 3},
        {"num_hidden_layers": 1},
        {"layer_norm_epsilon": 0.3},
    ],
)
def test_of_any_size(sizes):
    assert error_of(**sizes) < 1e-5


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_bfloat16_stays_close(threads, has_bfloat16, monkeypatch):
    monkeypatch.setattr(videomamba, "multiplies_bfloat16", lambda: has_bfloat16)
    assert 1e-5 < error_of(is_half=True, hidden_size=96) < 0.01


@pytest.mark.parametrize("is_half", [True, False])
def test_from_a_file(tmp_path, is_half, monkeypatch):
    monkeypatch.setattr(videomamba, "WORTHWHILE_STATES", 1)
    model, path = encoder(), tmp_path / "x.safetensors"
    write_runner_tensors(path, model, is_half)
    pixels = torch.randn(1, 4, 3, 32, 32)
    run = open_runner(path, model.config, 4)
    expected = VideoMambaRunner(runner_tensors(model, is_half), model.config)(pixels)
    assert run is not None and torch.equal(run(pixels), expected)
    is_rounded = is_half and videomamba.multiplies_bfloat16()
    assert run.number_format == ("bfloat16" if is_rounded else "float32")
    assert open_runner(tmp_path / "other", model.config, 4) is None


@pytest.mark.parametrize("rate", [2.0, 4.0, 9.0, 20.0])
def test_steep_and_flat_step_sizes(rate):
    model = encoder()
    with torch.no_grad():
        for layer in model.layers:
            branch = layer.mixer.forward_branch
            branch.dt_proj.bias[:8] = 40.0  # softplus is the identity, decays vanish
            branch.dt_proj.bias[8:16] = -40.0  # no step at all
            branch.A_log[:4] = rate
            branch.conv1d.bias[:6] = 30.0  # silu is the identity
            branch.conv1d.bias[6:12] = -30.0
    assert compare(model) < 1e-5


def test_fits_what_the_loops_are_written_for(monkeypatch):
    config = VideoMambaConfig(**SMALL, hidden_size=24)
    monkeypatch.setattr(videomamba, "WORTHWHILE_STATES", 1)
    assert VideoMambaRunner.fits(config, 4)
    assert not VideoMambaRunner.fits(VideoMambaConfig(**SMALL, hidden_size=20), 4)
    assert not VideoMambaRunner.fits(VideoMambaConfig(**SMALL, hidden_size=24, conv_kernel=3), 4)
    monkeypatch.setattr(videomamba, "WORTHWHILE_STATES", scan_kernel.WORTHWHILE_STATES)
    assert not VideoMambaRunner.fits(config, 4)


def test_two_callers_at_once(threads):
    run = VideoMambaRunner(runner_tensors(encoder(), False), encoder().config)
    pixels = torch.randn(1, 4, 3, 32, 32)
    expected = run(pixels)
    found = []
    callers = [threading.Thread(target=lambda: found.append(run(pixels))) for _ in range(4)]
    for caller in callers:
        caller.start()
    for caller in callers:
        caller.join(60)
    assert len(found) == 4 and all(torch.equal(one, expected) for one in found)


def test_a_members_error_reaches_the_caller_and_the_next_job_runs(threads):
    def fail(member):
        if member.rank == 0:
            raise ValueError("no")
        member.meet()

    with pytest.raises(ValueError, match="no"):
        run_together(fail)
    seen = []
    run_together(lambda member: (member.meet(), seen.append(list(member.share(7)))))
    assert sorted(row for share in seen for row in share) == list(range(7))
    assert len(seen) == threads
    assert torch.get_num_threads() == threads
