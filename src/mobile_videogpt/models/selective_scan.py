"""The selective state-space recurrence of Mamba (paper section 3.1, inside the video encoder).

One interface, ``selective_scan``, and three forms behind it: the reference (ten lines, the
definition), a cache-blocked form in plain PyTorch that runs everywhere, and ``mamba_ssm``'s fused
kernel on CUDA when that package is installed. The choice is made in one place, at the end of this
file. On a CPU the blocked form leaves its recurrence to a compiled loop (``scan_kernel.py``) where
numba is installed. Complex ``A`` and grouped ``B``/``C`` are left out on purpose.
"""

from functools import cache
from importlib import import_module
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional as F

from .scan_kernel import kernel_applies, run_kernel

BLOCK_STEPS = 64  # at most; long blocks amortise the calls per block
BLOCK_ELEMENTS = (
    1 << 17
)  # and at most this many states per buffer, so that a block stays in the L2 cache
MIN_BLOCK_STEPS = 8


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
        y = _BlockedScan.apply(u, sizes, A, B, C)
    else:
        sizes = _step_sizes_(
            delta.clone(memory_format=torch.contiguous_format), delta_bias, delta_softplus
        )
        if kernel_applies(u, A):
            y = run_kernel(u, sizes, A, B, C, y=sizes)
        else:
            y, _ = _scan_forward(u, sizes, A, B, C, y=sizes, keep_starts=False)
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


class _BlockedScan(torch.autograd.Function):
    """The bare recurrence over (length, batch, channels) tensors, block by block.

    Inside a block the decays ``exp(d A)`` and the states live in two reused buffers (steps, batch,
    state, channels); a step is one ``addcmul`` on contiguous memory. Only the state at the start of
    each block is kept for the backward pass, which recomputes the rest of its block.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        with torch.autocast(u.device.type, enabled=False):
            y, starts = _scan_forward(u, delta, A, B, C, torch.empty_like(u), keep_starts=True)
        ctx.save_for_backward(u, delta, A, B, C, starts)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(grad_y.device.type, enabled=False):
            return _scan_backward(grad_y, *ctx.saved_tensors)


def _scan_forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, y: Tensor, keep_starts: bool
) -> tuple[Tensor, Tensor]:
    """Fill y (length, batch, channels), which may be ``delta``; return it and the states at the
    starts of the blocks.
    """
    length, batch, _ = u.shape
    steps_per_block = _block_steps(length, batch * A.numel())
    block = _Block(steps_per_block, batch, A)
    state = u.new_zeros(batch, *A.shape)  # (batch, state, channels)
    starts = []
    for first in range(0, length, steps_per_block):
        steps = slice(first, min(first + steps_per_block, length))
        if keep_starts:
            starts.append(state.clone())
        _, h = block.run(state, u[steps], delta[steps], B[steps])
        state.copy_(h[-1])
        torch.bmm(_each_row(C[steps]), _each(h), out=_each_row(y[steps]))
    return y, torch.stack(starts) if starts else state.new_empty(0)


class _Block:
    """Buffers for the decays and states of one block, (steps, batch, state, channels) each.

    The views of single steps are made once: making them costs as much as a step's arithmetic.
    """

    def __init__(self, steps: int, batch: int, A: Tensor) -> None:
        self._A = A
        self._decays, self._states = (A.new_empty(steps, batch, *A.shape) for _ in range(2))
        self._pairs = list(zip(self._decays.unbind(), self._states.unbind(), strict=True))

    def run(self, state: Tensor, u: Tensor, delta: Tensor, B: Tensor) -> tuple[Tensor, Tensor]:
        """Fill the buffers from the rows of one block, which may be shorter; return both."""
        count = u.shape[0]
        decays, states = self._decays[:count], self._states[:count]
        torch.mul(delta.unsqueeze(-2), self._A, out=decays).exp_()
        torch.mul((delta * u).unsqueeze(-2), B.unsqueeze(-1), out=states)
        for decay, current in self._pairs[:count]:
            state = current.addcmul_(decay, state)
        return decays, states


def _scan_backward(
    grad_y: Tensor, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, starts: Tensor
) -> tuple[Tensor, ...]:
    """Return the gradients of u, delta, A, B and C.

    The gradient of a state is ``g_t = C_t dy_t + exp(d_(t+1) A) g_(t+1)``.
    """
    length, batch, _ = u.shape
    steps_per_block = _block_steps(length, batch * A.numel())
    block = _Block(steps_per_block, batch, A)
    grads = u.new_empty(steps_per_block, batch, *A.shape)
    grad_u, grad_delta = (u.new_empty(u.shape) for _ in range(2))
    grad_B, grad_C = (u.new_empty(B.shape) for _ in range(2))
    grad_A = torch.zeros_like(A)
    carry = u.new_zeros(
        batch, *A.shape
    )  # gradient that reaches the block's last state from later blocks
    for index in reversed(range(starts.shape[0] if length else 0)):
        steps = slice(index * steps_per_block, min((index + 1) * steps_per_block, length))
        du, dt, dy, b, start = u[steps], delta[steps], grad_y[steps], B[steps], starts[index]
        a, h = block.run(start, du, dt, b)
        g = grads[: a.shape[0]]
        _run_block_backward(carry, dy, C[steps], a, g)
        torch.mul(a[0], g[0], out=carry)

        torch.bmm(_each_row(dy), _each(h).mT, out=_each_row(grad_C[steps]))
        torch.bmm(_each_row(dt * du), _each(g).mT, out=_each_row(grad_B[steps]))
        grad_input = torch.bmm(_each_row(b), _each(g)).view_as(du)  # of d_t u_t
        torch.mul(grad_input, dt, out=grad_u[steps])

        # The gradient of d_t A, in the place of the decays: g_t exp(d_t A) h_(t-1).
        exponents = a.mul_(g)
        exponents[1:].mul_(h[:-1])
        exponents[0].mul_(start)
        torch.mul(exponents, dt.unsqueeze(-2), out=h)
        grad_A += h.flatten(0, 1).sum(0)
        grad_delta[steps] = grad_input.mul_(du).add_(exponents.mul_(A).sum(-2))
    return grad_u, grad_delta, grad_A, grad_B, grad_C


def _run_block_backward(
    carry: Tensor, dy: Tensor, C: Tensor, decays: Tensor, grads: Tensor
) -> None:
    """Fill ``grads`` with the gradients of a block's states, last step first."""
    torch.mul(dy.unsqueeze(-2), C.unsqueeze(-1), out=grads)
    slices = grads.unbind()
    later = slices[-1].add_(carry)
    for current, decay in zip(slices[-2::-1], decays.unbind()[:0:-1], strict=True):
        later = current.addcmul_(decay, later)


def _each(x: Tensor) -> Tensor:
    """(steps, batch, state, channels) -> (steps * batch, state, channels), a view."""
    return x.flatten(0, 1)


def _each_row(x: Tensor) -> Tensor:
    """(steps, batch, n) -> (steps * batch, 1, n), a view."""
    return x.flatten(0, 1).unsqueeze(1)


def _block_steps(length: int, elements_per_step: int) -> int:
    fitting = BLOCK_ELEMENTS // max(elements_per_step, 1)
    return max(1, min(length, BLOCK_STEPS, max(fitting, MIN_BLOCK_STEPS)))


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
