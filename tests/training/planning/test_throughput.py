"""The count of operations against PyTorch's own counter, and the time that follows from it."""

import pytest
import torch
from torch.utils.flop_counter import FlopCounterMode

from mobile_videogpt.config import MobileVideoGPTConfig
from mobile_videogpt.models.parameter_counts import count_parameters
from mobile_videogpt.training.planning.memory_probe import compute_loss, make_batch, prepare_model
from mobile_videogpt.training.planning.planned_run import PlannedRun, layer_shape, sequence_length
from mobile_videogpt.training.planning.throughput import count_flops, estimate_time

pytest.importorskip("peft")


@pytest.fixture(scope="module")
def config():
    return MobileVideoGPTConfig.preset("moving-shapes")


def counted(config, run):
    """FLOPs of forward and backward as PyTorch counts them: no scans, no fused attention."""
    torch.manual_seed(0)
    model, batch = prepare_model(config, run), make_batch(config, run)
    with FlopCounterMode(display=False) as forward:
        loss = compute_loss(model, batch, run.has_all_logits)
    with FlopCounterMode(display=False) as backward:
        loss.backward()
    return forward.get_total_flops(), backward.get_total_flops()


@pytest.mark.parametrize(
    "changes",
    [
        {"stage": "image_projector"},
        {"stage": "video_projector"},
        {"stage": "instruct", "lora_rank": 64},
        {"stage": "instruct", "lora_rank": 64, "gradient_checkpointing": True},
    ],
    ids=str,
)
def test_the_count_agrees_with_pytorchs_counter(config, changes):
    run = PlannedRun(dtype="float32", **changes)
    flops = count_flops(config, run, count_parameters(config))
    forward, backward = counted(config, run)
    # The counter knows neither CPU attention nor the scan: take them out of the estimate as well.
    layers, length = config.text_config.num_hidden_layers, sequence_length(config, run)
    attention = 2 * length**2 * layer_shape(config).heads * layers
    again = attention if run.gradient_checkpointing else 0
    ours_forward = sum(ways["forward"] for ways in flops.values()) - attention
    ours_backward = sum(ways["backward"] for ways in flops.values()) - 2.5 * attention - again
    assert ours_forward == pytest.approx(forward, rel=0.06)
    assert ours_backward == pytest.approx(backward, rel=0.06)


def test_stage_two_of_stills_runs_no_image_encoder(config):
    flops = count_flops(config, PlannedRun("video_projector"), count_parameters(config))
    assert "image_encoder" not in flops and flops["video_encoder"]["backward"] == 0


def test_time_is_arithmetic_or_loading_whichever_is_slower():
    run = PlannedRun("instruct", batch_size=4, num_devices=2)
    flops = {"part": {"forward": 1e12, "backward": 2e12}}
    free = estimate_time(run, flops, 300e12, 0.5, samples=36_000, epochs=2)
    assert free.seconds_per_step == pytest.approx(4 * 3e12 / 150e12)
    assert free.samples_per_second == pytest.approx(100)
    assert free.hours == pytest.approx(0.2) and free.bound == "arithmetic"
    slow = estimate_time(run, flops, 300e12, 0.5, loader_rate=5)
    assert slow.seconds_per_step == pytest.approx(0.8) and slow.bound == "loader"
    assert slow.hours is None


@pytest.mark.parametrize("share", [0, 1.5])
def test_an_impossible_utilisation_is_refused(share):
    with pytest.raises(ValueError, match="above 0 and at most 1"):
        estimate_time(PlannedRun("instruct"), {}, 1e12, share)
