"""The selective scan's bare recurrence in plain PyTorch, block by block, with its gradients.

Blocks are so short that their states stay in the processor's cache. Gate, skip connection and step
sizes are in ``selective_scan.py``.
"""

from typing import Any

import torch
from torch import Tensor

BLOCK_STEPS = 64  # at most; long blocks amortise the calls per block
# And at most this many states per buffer, so that a block stays in the L2 cache.
BLOCK_ELEMENTS = 1 << 17
MIN_BLOCK_STEPS = 8


class BlockedScan(torch.autograd.Function):
    """The bare recurrence over (length, batch, channels) tensors, block by block.

    Inside a block the decays ``exp(d A)`` and the states live in two reused buffers (steps, batch,
    state, channels); a step is one ``addcmul`` on contiguous memory. Only the state at the start of
    each block is kept for the backward pass, which recomputes the rest of its block.
    """

    @staticmethod
    def forward(ctx: Any, u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor) -> Tensor:
        with torch.autocast(u.device.type, enabled=False):
            y, starts = scan_forward(u, delta, A, B, C, torch.empty_like(u), keep_starts=True)
        ctx.save_for_backward(u, delta, A, B, C, starts)
        return y

    @staticmethod
    @torch.autograd.function.once_differentiable
    def backward(ctx: Any, grad_y: Tensor) -> tuple[Tensor, ...]:
        with torch.autocast(grad_y.device.type, enabled=False):
            return _scan_backward(grad_y, *ctx.saved_tensors)


def scan_forward(
    u: Tensor, delta: Tensor, A: Tensor, B: Tensor, C: Tensor, y: Tensor, keep_starts: bool
) -> tuple[Tensor, Tensor]:
    """Fill y (length, batch, channels), which may be ``delta``, with the bare recurrence.

    Args:
        u, delta: (length, batch, channels), contiguous u; delta are finished step sizes.
        A: (state, channels).
        B, C: (length, batch, state), contiguous.
        y: filled.
        keep_starts: whether the backward pass will need the states at the starts of the blocks.

    Returns:
        y, and those states, (blocks, batch, state, channels), or an empty tensor.
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
