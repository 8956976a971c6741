"""This process among those that `accelerate launch` or `torchrun` started, or alone."""

from __future__ import annotations

import torch
from accelerate import PartialState


def process_state() -> PartialState:
    """Rank, number of processes, barriers; joins the group on the first call.

    Asked for anew each time: transformers makes another one whenever a stage begins.
    """
    return PartialState(cpu=not torch.cuda.is_available())


def has_bf16() -> bool:
    """Whether this device computes in bfloat16 at full speed."""
    return torch.cuda.is_available() and torch.cuda.is_bf16_supported(including_emulation=False)
