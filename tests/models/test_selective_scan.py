"""The fast forms of the scan against the step-by-step definition."""

import time

import pytest
import torch
from golden_cases import Case, cases
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode

from mobile_videogpt.models import selective_scan as module
from mobile_videogpt.models.selective_scan import (
    selective_scan,
    selective_scan_channels_last,
    selective_scan_reference,
)


def make_inputs(batch, channels, length, state, dtype=torch.float32, leave_out=()):
    torch.manual_seed(0)
    inputs = {
        "u": torch.randn(batch, channels, length),
        "delta": torch.randn(batch, channels, length),
        "A": -4 * torch.rand(channels, state) - 0.01,
        "B": torch.randn(batch, state, length),
        "C": torch.randn(batch, state, length),
        "D": torch.randn(channels),
        "z": torch.randn(batch, channels, length),
        "delta_bias": torch.randn(channels) - 2,
    }
    return {
        name: None if name in leave_out else tensor.to(dtype).requires_grad_()
        for name, tensor in inputs.items()
    }


def outputs_and_gradients(scan, inputs, softplus=True):
    y = scan(**inputs, delta_softplus=softplus)
    torch.manual_seed(1)
    given = [tensor for tensor in inputs.values() if tensor is not None]
    return y, torch.autograd.grad(y, given, torch.randn_like(y))


def relative_error(value: Tensor, expected: Tensor) -> float:
    value, expected = value.detach(), expected.detach()
    return float((value - expected).abs().max() / expected.abs().max().clamp_min(1e-12))


@pytest.mark.parametrize(
    ("batch", "channels", "length", "state"),
    [
        (2, 5, 130, 3),  # several blocks, the last one short
        (1, 7, 1, 1),
        (3, 4, 64, 2),  # exactly one block
        (1, 6, 200, 1),
        (32, 24, 20, 4),
    ],
)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_values_and_gradients_equal_the_definition(batch, channels, length, state, dtype):
    inputs = make_inputs(batch, channels, length, state, dtype)
    y, gradients = outputs_and_gradients(selective_scan, inputs)
    expected, expected_gradients = outputs_and_gradients(selective_scan_reference, inputs)
    assert y.shape == (batch, channels, length)
    assert y.dtype == dtype
    assert relative_error(y, expected) < 1e-5
    for value, reference in zip(gradients, expected_gradients, strict=True):
        assert relative_error(value, reference) < 1e-5


@pytest.mark.parametrize("scan", [selective_scan, selective_scan_reference])
def test_an_empty_sequence_gives_an_empty_one(scan):
    inputs = {k: v.detach() for k, v in make_inputs(2, 3, 0, 4).items()}
    assert scan(**inputs, delta_softplus=True).shape == (2, 3, 0)


@pytest.mark.parametrize("leave_out", [("D",), ("z",), ("delta_bias",), ("D", "z", "delta_bias")])
@pytest.mark.parametrize("softplus", [True, False])
def test_optional_inputs_may_be_left_out(leave_out, softplus):
    inputs = make_inputs(2, 4, 70, 3, leave_out=leave_out)
    if not softplus:  # a negative step would grow without bound
        inputs["delta"] = inputs["delta"].detach().abs().requires_grad_()
        if inputs["delta_bias"] is not None:
            inputs["delta_bias"] = inputs["delta_bias"].detach().abs().requires_grad_()
    y, gradients = outputs_and_gradients(selective_scan, inputs, softplus)
    expected, expected_gradients = outputs_and_gradients(selective_scan_reference, inputs, softplus)
    assert relative_error(y, expected) < 1e-5
    for value, reference in zip(gradients, expected_gradients, strict=True):
        assert relative_error(value, reference) < 1e-5


def test_gradients_equal_finite_differences():
    inputs = make_inputs(2, 3, 9, 2, torch.float64)
    names = list(inputs)
    assert torch.autograd.gradcheck(
        lambda *tensors: selective_scan(
            **dict(zip(names, tensors, strict=True)), delta_softplus=True
        ),
        tuple(inputs.values()),
    )


def test_long_strongly_decaying_sequence_stays_finite():
    inputs = make_inputs(1, 4, 2000, 3)
    inputs["delta"] = (inputs["delta"].detach() * 30).requires_grad_()
    y, gradients = outputs_and_gradients(selective_scan, inputs)
    assert y.isfinite().all()
    assert all(gradient.isfinite().all() for gradient in gradients)


def test_channels_last_form_is_the_same_scan():
    inputs = make_inputs(2, 6, 90, 3)
    last = {
        name: tensor.transpose(1, 2) if tensor.dim() == 3 else tensor
        for name, tensor in inputs.items()
    }
    y = selective_scan_channels_last(**last, delta_softplus=True)
    torch.testing.assert_close(y.mT, selective_scan(**inputs, delta_softplus=True))


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_computed_in_float32(dtype):
    inputs = {k: v.detach().to(dtype) for k, v in make_inputs(1, 4, 100, 2).items()}
    y = selective_scan(**inputs, delta_softplus=True)
    exact = selective_scan(**{k: v.float() for k, v in inputs.items()}, delta_softplus=True)
    assert y.dtype == dtype
    torch.testing.assert_close(y, exact.to(dtype))


def test_autocast_does_not_reach_the_scan():
    inputs = make_inputs(1, 4, 100, 2)
    with torch.autocast("cpu", torch.bfloat16):
        y = selective_scan(**inputs, delta_softplus=True)
    torch.testing.assert_close(y, selective_scan(**inputs, delta_softplus=True))


@pytest.mark.parametrize("name", cases("mamba_mixer_*"))
@pytest.mark.parametrize("direction", ["forward", "backward"])
@pytest.mark.parametrize("scan", [selective_scan, selective_scan_reference])
def test_recorded_scans(name, direction, scan):
    """The recorded B and C have an axis for groups."""
    case = Case(name)
    names = ("u", "delta", "A", "B", "C", "D", "z", "delta_bias")
    inputs = {key: case[f"inter.{direction}.{key}"] for key in names}
    case.check(f"inter.{direction}.y", scan(**inputs, delta_softplus=True))


@pytest.mark.parametrize(
    ("name", "shape"), [("B", (2, 4, 70)), ("z", (2, 4, 71)), ("D", (5,)), ("A", (5, 3))]
)
def test_a_wrong_shape_is_named(name, shape):
    inputs = {k: v.detach() for k, v in make_inputs(2, 4, 70, 3).items()}
    inputs[name] = torch.zeros(shape)
    with pytest.raises(ValueError, match=rf"{name} of shape \({shape[0]}"):
        selective_scan(**inputs)


class LargestTensor(TorchDispatchMode):
    """Notes the number of elements of the largest tensor that any operation returns."""

    def __init__(self) -> None:
        super().__init__()
        self.elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        result = func(*args, **(kwargs or {}))
        for tensor in result if isinstance(result, tuple | list) else (result,):
            if isinstance(tensor, Tensor):
                self.elements = max(self.elements, tensor.numel())
        return result


@pytest.mark.parametrize(("batch", "channels", "state"), [(1, 128, 16), (8, 64, 4)])
def test_states_of_all_steps_never_stand_in_memory_at_once(batch, channels, state):
    length = 600
    inputs = make_inputs(batch, channels, length, state)
    all_states = batch * channels * length * state
    with LargestTensor() as forward:
        y = selective_scan(**inputs, delta_softplus=True)
    with LargestTensor() as backward:
        torch.autograd.grad(y.sum(), list(inputs.values()))
    assert forward.elements < all_states / 2
    assert backward.elements < all_states / 2


@pytest.fixture
def one_thread():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


def test_the_fast_form_costs_a_fraction_of_stepping(one_thread):
    inputs = {k: v.detach() for k, v in make_inputs(1, 1152, 400, 16).items()}

    def cpu_seconds(scan, repeats):
        """The least of several runs, in this thread's own time: nothing else counts."""
        times = []
        for _ in range(repeats):
            start = time.thread_time()
            scan(**inputs, delta_softplus=True)
            times.append(time.thread_time() - start)
        return min(times)

    fast = cpu_seconds(selective_scan, 4)
    # Measured at full length: 0.30 on one thread, 0.23 on two.
    assert fast < 0.5 * cpu_seconds(selective_scan_reference, 2)


def test_fused_kernel_is_used_on_cuda_only(monkeypatch):
    monkeypatch.setattr(module, "_mamba_ssm_kernel", lambda: object())
    assert not module._fused_kernel_applies(torch.zeros(1))


def test_fused_form_says_what_it_needs(monkeypatch):
    monkeypatch.setattr(module, "_mamba_ssm_kernel", lambda: None)
    inputs = {k: v.detach() for k, v in make_inputs(1, 2, 3, 2).items()}
    with pytest.raises(RuntimeError, match="mamba_ssm is not installed"):
        module.selective_scan_fused(**inputs)


@pytest.mark.gpu
def test_cuda_values_and_gradients_equal_the_definition():
    inputs = make_inputs(2, 64, 200, 16)
    inputs = {k: v.detach().cuda().requires_grad_() for k, v in inputs.items()}
    y, gradients = outputs_and_gradients(selective_scan, inputs)
    expected, expected_gradients = outputs_and_gradients(selective_scan_reference, inputs)
    assert relative_error(y, expected) < 1e-5
    for value, reference in zip(gradients, expected_gradients, strict=True):
        assert relative_error(value, reference) < 1e-4
