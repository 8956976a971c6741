"""The selective state-space recurrence of Mamba (paper section 3.1, inside the video encoder).

One interface, ``selective_scan``, and three forms behind it: the reference (ten lines, the
definition), a cache-blocked form in plain PyTorch that runs everywhere (``scan_blocks.py``), and
``mamba_ssm``'s fused kernel on CUDA when that package is installed. The choice is made in one
place, at the end of this file. On a CPU the blocked form leaves its recurrence to a compiled loop
(``scan_kernel.py``) where numba is installed. Complex ``A`` and grouped ``B``/``C`` are left out on
purpose.
"""

from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .scan_blocks import BlockedScan, scan_forward
from .scan_kernel import kernel_applies, run_kernel


def selective_scan(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> Tensor:
    """Run the selective scan over the last axis.

    With ``d = softplus(delta + delta_bias)`` (softplus only if asked for), channel by channel::

        h_t = exp(d_t A) * h_(t-1) + d_t u_t B_t        h_(-1) = 0
        y_t = <C_t, h_t> + D u_t                        times silu(z_t) if z is given

    Args:
        u: (batch, channels, length).
        delta: (batch, channels, length).
        A: (channels, state).
        B: (batch, state, length), or (batch, 1, state, length).
        C: like ``B``.
        D: (channels,), the skip connection.
        z: (batch, channels, length), the gate.
        delta_bias: (channels,).
        delta_softplus: apply softplus to ``delta + delta_bias``.

    Returns:
        (batch, channels, length) in the dtype of ``u``. Half precision is computed in float32,
        because the state accumulates over the whole length; float64 stays float64.

    Raises:
        ValueError: if a shape does not fit.
    """
    B, C = _without_group_axis(B), _without_group_axis(C)
    _check_shapes(u, delta, A, B, C, D=D, z=z, delta_bias=delta_bias)
    scan = selective_scan_fused if _fused_kernel_applies(u) else selective_scan_blocked
    return scan(u, delta, A, B, C, D, z, delta_bias, delta_softplus)


def selective_scan_reference(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> Tensor:
    """The definition, step by step, which the tests trust; arguments as in ``selective_scan``."""
    dtype = u.dtype
    u, delta, A, B, C = (_at_least_float32(x) for x in (u, delta, A, B, C))
    B, C = _without_group_axis(B), _without_group_axis(C)
    delta = _step_sizes(delta, _as_column(delta_bias), delta_softplus)
    state = u.new_zeros(u.shape[0], *A.shape)  # (batch, channels, state)
    outputs = []
    for t in range(u.shape[-1]):
        step = delta[:, :, t, None]
        state = torch.exp(step * A) * state + step * u[:, :, t, None] * B[:, None, :, t]
        outputs.append((state * C[:, None, :, t]).sum(-1))
    y = torch.stack(outputs, dim=-1) if outputs else torch.zeros_like(u)
    y = y if D is None else y + D[:, None] * u
    return _gate(y, z).to(dtype)


def selective_scan_blocked(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> Tensor:
    """The cache-blocked form; arguments as in ``selective_scan``."""
    dtype = u.dtype
    u, delta, B, C = (x.permute(2, 0, 1) for x in (u, delta, B, C))
    y = _scan_rows(u, delta, A, B, C, D, delta_bias, delta_softplus)
    return _gate(y.permute(1, 2, 0), z).contiguous().to(dtype)


def selective_scan_channels_last(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> Tensor:
    """``selective_scan`` for tensors that hold the channels last, as linear layers leave them.

    Args:
        u, delta, z: (batch, length, channels).
        A: (channels, state).
        B, C: (batch, length, state).
        D, delta_bias: (channels,).
        delta_softplus: as in ``selective_scan``.

    Returns:
        (batch, length, channels) in the dtype of ``u``.
    """
    if _fused_kernel_applies(u):
        z = None if z is None else z.mT
        return selective_scan_fused(
            u.mT, delta.mT, A, B.mT, C.mT, D, z, delta_bias, delta_softplus
        ).mT
    dtype = u.dtype
    u, delta, B, C = (x.transpose(0, 1) for x in (u, delta, B, C))
    y = _scan_rows(u, delta, A, B, C, D, delta_bias, delta_softplus)
    return _gate(y.transpose(0, 1), z).to(dtype)


def _scan_rows(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None,
    delta_bias: Tensor | None,
    delta_softplus: bool,
) -> Tensor:
    """The scan without its gate on (length, batch, ...) views of the inputs, y like ``u``.

    Strided rows would cost more than copying them does. Without gradients the step sizes are a
    buffer of our own that y then overwrites: fresh memory of this size costs more than the
    arithmetic that fills it.
    """
    u, delta, A, B, C = (_at_least_float32(x) for x in (u, delta, A, B, C))
    u, B, C = (x.contiguous() for x in (u, B, C))
    A = A.t().contiguous()
    inputs = (u, delta, A, B, C, delta_bias)
    if torch.is_grad_enabled() and any(x is not None and x.requires_grad for x in inputs):
        sizes = _step_sizes(delta, delta_bias, delta_softplus).contiguous()
        y = BlockedScan.apply(u, sizes, A, B, C)
    else:
        sizes = _step_sizes_(
            delta.clone(memory_format=torch.contiguous_format), delta_bias, delta_softplus
        )
        if kernel_applies(u, A):
            y = run_kernel(u, sizes, A, B, C, y=sizes)
        else:
            y, _ = scan_forward(u, sizes, A, B, C, y=sizes, keep_starts=False)
    # In place: y is ours and nothing has saved it.
    return y if D is None else y.addcmul_(u, D.to(u.dtype))


def selective_scan_fused(
    u: Tensor,
    delta: Tensor,
    A: Tensor,
    B: Tensor,
    C: Tensor,
    D: Tensor | None = None,
    z: Tensor | None = None,
    delta_bias: Tensor | None = None,
    delta_softplus: bool = False,
) -> Tensor:
    """``mamba_ssm``'s kernel, for CUDA tensors only; arguments as in ``selective_scan``."""
    kernel = _mamba_ssm_kernel()
    if kernel is None:
        raise RuntimeError("mamba_ssm is not installed; use selective_scan, which does without it.")
    tensors = (u, delta, A, B, C, D, z, delta_bias)
    ready = (None if x is None else x.float().contiguous() for x in tensors)
    return kernel(*ready, delta_softplus).to(u.dtype)


def _step_sizes(delta: Tensor, bias: Tensor | None, softplus: bool) -> Tensor:
    if bias is not None:
        delta = delta + bias.to(delta.dtype)
    return F.softplus(delta) if softplus else delta


def _step_sizes_(delta: Tensor, bias: Tensor | None, softplus: bool) -> Tensor:
    """``_step_sizes`` in place."""
    if bias is not None:
        delta.add_(bias.to(delta.dtype))
    return torch.ops.aten.softplus.out(delta, out=delta) if softplus else delta


def _gate(y: Tensor, z: Tensor | None) -> Tensor:
    """``y * silu(z)``; y may be a permuted view."""
    if z is None:
        return y
    gate = F.silu(z.to(y.dtype))
    if torch.is_grad_enabled() and (y.requires_grad or gate.requires_grad):
        return y * gate
    return gate.mul_(y)


def _at_least_float32(x: Tensor) -> Tensor:
    return x if x.dtype == torch.float64 else x.float()


def _as_column(x: Tensor | None) -> Tensor | None:
    return None if x is None else x[:, None]


def _without_group_axis(x: Tensor) -> Tensor:
    return x.squeeze(1) if x.dim() == 4 and x.shape[1] == 1 else x


def _check_shapes(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, **optional: Tensor | None
) -> None:
    if u.dim() != 3 or A.dim() != 2:
        raise ValueError(
            "selective_scan needs u of shape (batch, channels, length) and A of shape "
            f"(channels, state), but got {tuple(u.shape)} and {tuple(A.shape)}."
        )
    (batch, channels, length), state = u.shape, A.shape[1]
    wanted: dict[str, tuple[Tensor | None, tuple[int, ...]]] = {
        "delta": (delta, (batch, channels, length)),
        "A": (A, (channels, state)),
        "B": (B, (batch, state, length)),
        "C": (C, (batch, state, length)),
        "D": (optional["D"], (channels,)),
        "z": (optional["z"], (batch, channels, length)),
        "delta_bias": (optional["delta_bias"], (channels,)),
    }
    for name, (tensor, shape) in wanted.items():
        if tensor is not None and tuple(tensor.shape) != shape:
            raise ValueError(
                f"selective_scan got {name} of shape {tuple(tensor.shape)}, but u "
                f"{tuple(u.shape)} and A {tuple(A.shape)} need {shape}."
            )


@cache
def _mamba_ssm_kernel() -> Any | None:
    try:
        return import_module("mamba_ssm.ops.selective_scan_interface").selective_scan_fn
    except (ImportError, OSError):  # not installed, or built for another CUDA or torch
        return None


def _fused_kernel_applies(u: Tensor) -> bool:
    return u.is_cuda and u.dtype != torch.float64 and _mamba_ssm_kernel() is not None
