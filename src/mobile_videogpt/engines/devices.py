"""Which device and number format to run on: chosen here, and nowhere else."""

from __future__ import annotations

from functools import cache

import torch

from mobile_videogpt.engines.int8 import has_int8_kernel

DTYPES = {
    "float32": torch.float32,
    "bfloat16": torch.bfloat16,
    "float16": torch.float16,
    "int8": torch.int8,  # weights and the tokens they are multiplied with; on a CPU (int8.py)
}
# A language model from this size on waits for its weights to be read at every token.
LARGE_LANGUAGE_MODEL = 100_000_000


def pick_device(name: str | torch.device = "auto") -> torch.device:
    """The device that `name` stands for; "auto" takes CUDA, then Apple's MPS, then the CPU.

    Raises:
        ValueError: no such device, or this machine has none.
    """
    if name == "auto":
        if torch.cuda.is_available():
            return torch.device("cuda")
        return torch.device("mps" if torch.backends.mps.is_available() else "cpu")
    try:
        device = torch.device(name)
    except RuntimeError:
        raise ValueError(
            f"unknown device {name!r}; choose auto, cpu, cuda, cuda:N or mps"
        ) from None
    available = {
        "cpu": True,
        "cuda": torch.cuda.is_available(),
        "mps": torch.backends.mps.is_available(),
    }
    if not available.get(device.type, False):
        found = ", ".join(kind for kind, is_there in available.items() if is_there)
        raise ValueError(
            f"device {str(device)!r} is not available here (found: {found}); use device='auto'"
        )
    if device.type == "cuda" and (device.index or 0) >= torch.cuda.device_count():
        raise ValueError(
            f"device {str(device)!r} does not exist; "
            f"this machine has cuda:0 to cuda:{torch.cuda.device_count() - 1}"
        )
    return device


def pick_dtype(name: str | torch.dtype, device: torch.device, parameters: int = 0) -> torch.dtype:
    """The number format that `name` stands for on `device`.

    "auto" is bfloat16 on CUDA cards that have it and float16 on other accelerators. On a CPU it is
    int8 for a large language model where the processor multiplies bytes (VNNI, AMX), else float32:
    half precision is slower there.

    Args:
        name: "auto", a name of `DTYPES`, or a torch dtype.
        device: where the model will be.
        parameters: of the language model; the built-in one is small and stays in float32.

    Raises:
        ValueError: not one of the formats, or int8 on another device than a CPU.
    """
    if name == "auto":
        if device.type == "cpu":
            is_worth_it = parameters >= LARGE_LANGUAGE_MODEL and has_int8_kernel()
            return torch.int8 if is_worth_it else torch.float32
        has_bfloat16 = device.type == "cuda" and torch.cuda.is_bf16_supported()
        return torch.bfloat16 if has_bfloat16 else torch.float16
    dtype = DTYPES.get(name) if isinstance(name, str) else name
    if dtype is None or dtype not in DTYPES.values():
        raise ValueError(f"dtype is {name!r}; choose auto, {', '.join(DTYPES)}")
    if dtype == torch.int8 and device.type != "cpu":
        raise ValueError(f"dtype int8 is for the CPU, but the device is {device}; use auto")
    return dtype


def synchronize(device: torch.device) -> None:
    """Wait until `device` has finished what it was given."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    elif device.type == "mps":
        torch.mps.synchronize()


@cache
def multiplies_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16."""
    return _cpu_has("_is_avx512_bf16_supported")


@cache
def has_bfloat16_units() -> bool:
    """Whether it has matrix units for bfloat16 (AMX): some eight times as fast as float32."""
    return multiplies_bfloat16() and _cpu_has("_is_amx_tile_supported")


def _cpu_has(name: str) -> bool:
    supported = getattr(torch.cpu, name, None)  # PyTorch's own test, not a public one
    return bool(supported and supported())
