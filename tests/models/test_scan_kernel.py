"""The compiled loop against the definition; and what runs where it does not apply."""

import pytest
import torch

from mobile_videogpt.models import scan_kernel, selective_scan
from mobile_videogpt.models.selective_scan import selective_scan_blocked, selective_scan_reference

pytest.importorskip("numba")


@pytest.fixture(autouse=True)
def every_size_is_worthwhile(monkeypatch):
    monkeypatch.setattr(scan_kernel, "WORTHWHILE_STATES", 1)


@pytest.fixture
def runs(monkeypatch):
    """How often the loop has run."""
    calls = []

    def counted(*args, **named):
        calls.append(args)
        return scan_kernel.run_kernel(*args, **named)

    monkeypatch.setattr(selective_scan, "run_kernel", counted)
    return calls


def inputs(batch, channels, state, length, steepest=16.0):
    torch.manual_seed(channels + length)
    return {
        "u": torch.randn(batch, channels, length),
        "delta": torch.randn(batch, channels, length),
        "A": -steepest * torch.rand(channels, state),
        "B": torch.randn(batch, state, length),
        "C": torch.randn(batch, state, length),
        "D": torch.randn(channels),
        "z": torch.randn(batch, channels, length),
        "delta_bias": torch.randn(channels),
        "delta_softplus": True,
    }


@pytest.mark.parametrize("threads", [1, 2])
@pytest.mark.parametrize(("batch", "channels", "state", "length"), [(1, 8, 4, 33), (2, 400, 3, 21)])
def test_the_loop_is_the_recurrence(runs, batch, channels, state, length, threads):
    given = inputs(batch, channels, state, length)
    before = torch.get_num_threads()
    torch.set_num_threads(threads)
    try:
        with torch.inference_mode():
            y = selective_scan_blocked(**given)
    finally:
        torch.set_num_threads(before)
    assert len(runs) == 1
    assert torch.allclose(y, selective_scan_reference(**given), rtol=1e-4, atol=1e-4)


def test_steep_decays_vanish_and_none_stay(runs):
    given = inputs(1, 8, 2, 20, steepest=1e4)
    given["A"][:4] = 0.0
    with torch.inference_mode():
        y = selective_scan_blocked(**given)
    assert runs and torch.allclose(y, selective_scan_reference(**given), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("steepest", [80, 130, 600, 1e6, 1e9])
def test_decays_below_every_normal_number(runs, steepest):
    given = inputs(1, 64, 16, 50, steepest=float(steepest))
    with torch.inference_mode():
        y = selective_scan_blocked(**given)
    assert runs and torch.allclose(y, selective_scan_reference(**given), rtol=1e-4, atol=1e-4)


def test_gradients_and_other_formats_take_pytorchs_form(runs):
    given = inputs(1, 8, 4, 9)
    given["u"].requires_grad_()
    selective_scan_blocked(**given).sum().backward()
    double = {k: v.double() if isinstance(v, torch.Tensor) else v for k, v in given.items()}
    with torch.no_grad():
        selective_scan_blocked(**double)
    assert runs == []


def test_without_numba_pytorchs_form_runs(runs, monkeypatch):
    monkeypatch.setattr(scan_kernel, "has_numba", lambda: False)
    given = inputs(1, 8, 4, 9)
    with torch.inference_mode():
        y = selective_scan_blocked(**given)
    assert runs == [] and torch.allclose(y, selective_scan_reference(**given), atol=1e-4)
