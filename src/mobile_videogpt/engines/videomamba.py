"""VideoMamba on a CPU as compiled loops between its matrix products, where numba is installed.

It gives what `models.videomamba.VideoMambaModel` gives; the tests compare the two. What it saves:
activations pass through a few hundred rows at a time, in the processor's cache, from one product to
the next; a state of the scan stays in a register; all cores work all the time.

The wide matrices may be in 8 bits (int8.py). Then what lies between convolution, narrow matrices
and scan is bfloat16 where the processor multiplies that: it rounds less than 8 bits do.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from mobile_videogpt.config import VideoMambaConfig
from mobile_videogpt.engines.int8 import Int8Linear, has_int8_kernel
from mobile_videogpt.engines.team import Member, run_together
from mobile_videogpt.models.scan_kernel import WORTHWHILE_STATES, decay_rates, has_numba

ROWS_AT_ONCE = 256  # tokens that pass from product to product within the L2 cache
TAPS = 4  # of the convolution that the loop is written for
LANES = 16  # channels of a vector of the scan


def is_worthwhile(config: VideoMambaConfig, frames: int) -> bool:
    """Whether loops for a clip of so many frames exist, and are worth loading the compiler."""
    length = 1 + frames * config.grid_size**2
    return (
        config.conv_kernel == TAPS
        and config.intermediate_size % LANES == 0
        and length * config.intermediate_size * config.state_size >= WORTHWHILE_STATES
    )


def open_runner(path: Path, config: VideoMambaConfig, frames: int) -> VideoMambaRunner | None:
    """The runner of a file by `write_runner_tensors`.

    Returns:
        None where there is no such file, or this machine lacks what running it takes.
    """
    if not path.is_file() or not VideoMambaRunner.fits(config, frames):
        return None
    tensors = _File(path)
    if "0/out_levels" in tensors and not has_int8_kernel():
        return None
    return VideoMambaRunner(tensors, config)


class _File(Mapping[str, Tensor]):
    """A file's tensors, each read when it is asked for: all of them at once are never needed."""

    def __init__(self, path: Path) -> None:
        self._path = path
        with safe_open(path, framework="pt") as file:
            self._names = list(file.keys())

    def __getitem__(self, name: str) -> Tensor:
        # A copy, lest the mapping of the whole file outlive this call.
        with safe_open(self._path, framework="pt") as file:
            return file.get_tensor(name).clone()

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)


class VideoMambaRunner:
    """Runs a video encoder from the tensors that `videomamba_weights` makes of one.

    Args:
        tensors: by the names that `_Block` and `_embed` look up.
        config: the encoder's.
    """

    def __init__(self, tensors: Mapping[str, Tensor], config: VideoMambaConfig) -> None:
        self.config = config
        self._tensors = {name: tensors[name] for name in tensors if "/" not in name}
        self._blocks = _build_blocks(tensors, config)

    @staticmethod
    def fits(config: VideoMambaConfig, frames: int) -> bool:
        """Whether the loops can run a clip of so many frames here, and are worth it."""
        return is_worthwhile(config, frames) and has_numba()

    @torch.inference_mode()
    def __call__(self, pixel_values: Tensor) -> Tensor:
        """Map pixels (B, T, 3, H, W) to tokens (B, 1 + T * N, D), the class token first."""
        return torch.stack([self._encode(clip) for clip in pixel_values])

    def _encode(self, clip: Tensor) -> Tensor:
        run = _Pass(self._blocks, self._embed(clip), self.config)
        run_together(run.work)
        size, epsilon = (self.config.hidden_size,), self.config.layer_norm_epsilon
        return F.rms_norm(run.hidden, size, self._tensors["norm"], epsilon)

    def _embed(self, clip: Tensor) -> Tensor:
        """(T, 3, H, W) -> (1 + T * N, D), contiguous."""
        own, config = self._tensors, self.config
        patches = F.conv3d(
            clip.float().transpose(0, 1)[None],
            own["patches"],
            own["patches_bias"],
            stride=(1, config.patch_size, config.patch_size),
            padding=(config.temporal_kernel // 2, 0, 0),
        )  # (1, D, T, g, g)
        rows = patches[0].flatten(2).permute(1, 2, 0) + own["space"][1:]  # (T, N, D)
        if len(clip) > 1:  # a still has no place in time
            rows = rows + own["time"][: len(clip), None]
        return torch.cat((own["class"] + own["space"][:1], rows.flatten(0, 1)))


class _Product:
    """A matrix product without bias: of float32 rows, or of the levels of rows in 8 bits."""

    def __init__(self, tensors: Mapping[str, Tensor], name: str) -> None:
        levels = tensors.get(f"{name}_levels")
        self._int8 = None if levels is None else Int8Linear(levels, tensors[f"{name}_scale"])
        self._weight = None if levels is not None else tensors[name].t()

    @property
    def is_int8(self) -> bool:
        """Whether it takes levels."""
        return self._int8 is not None

    def __call__(self, rows: Tensor) -> Any:
        """(M, K) -> (M, N) as an array; what is in 8 bits lacks the scales of its rows."""
        if self._int8 is not None:
            return self._int8.times(rows).numpy()
        assert self._weight is not None
        return (rows @ self._weight).numpy()


class _Block:
    """The weights of one block; branches stacked, forward first."""

    def __init__(
        self, tensors: Mapping[str, Tensor], prefix: str, config: VideoMambaConfig
    ) -> None:
        own = {n.removeprefix(prefix): tensors[n] for n in tensors if n.startswith(prefix)}
        self.to_x, self.to_z, self.out = (_Product(own, name) for name in ("to_x", "to_z", "out"))
        self.norm = own["norm"].numpy()
        self.taps = own["taps"].numpy()  # (2, 4, C)
        self.taps_bias = own["taps_bias"].numpy()
        kind = _narrow_format(self.out.is_int8)
        self.to_narrow = own["to_narrow"].to(kind).mT  # (2, C, rank + 2 N)
        self.to_step = own["to_step"].to(kind).mT  # (2, rank, C)
        self.step_bias = own["step_bias"].numpy()
        self.rates = decay_rates(own["decay"]).numpy()  # (2, C / 16, N, 16)
        self.skip = own["skip"].numpy()


def _build_blocks(tensors: Mapping[str, Tensor], config: VideoMambaConfig) -> list[_Block]:
    """In all threads: oneDNN takes a while to pack matrices in 8 bits."""
    count = config.num_hidden_layers
    found: list[_Block | None] = [None] * count

    def build(member: Member) -> None:
        for i in member.share(count):
            found[i] = _Block(tensors, f"{i}/", config)

    run_together(build)
    return [block for block in found if block is not None]


class _Pass:
    """One clip on its way through the blocks; `hidden` is its residual stream, (L, D)."""

    def __init__(self, blocks: list[_Block], hidden: Tensor, config: VideoMambaConfig) -> None:
        self._blocks = blocks
        self._config = config
        self.hidden = hidden
        self._hidden = hidden.numpy()
        (length, dim), channels = hidden.shape, config.intermediate_size
        is_int8 = blocks[0].out.is_int8
        self._is_int8 = is_int8
        kind = _narrow_format(is_int8)
        # What one product leaves for a later one; one share of the rows for each thread.
        self._levels = torch.empty(length, dim, dtype=torch.uint8 if is_int8 else torch.float32)
        self._scales = torch.ones(length).numpy()
        self._u = torch.empty(2, length, channels, dtype=kind)
        self._narrow = torch.empty(2, length, config.dt_rank + 2 * config.state_size, dtype=kind)
        self._steps = torch.empty(2, length, channels, dtype=kind)
        self._y = torch.empty(length, channels).numpy()
        self._numbers = (0,) * config.state_size

    def work(self, member: Member) -> None:
        """What one thread does; the blocks' products need its rows only, the scan all of them."""
        rows = member.share(len(self.hidden))
        scratch = _Scratch(self._config)
        before = None
        for block in self._blocks:
            for some in _parts(rows):
                if before is not None:
                    self._leave(before, some, scratch)
                self._enter(block, some, scratch)
            member.meet()
            for some in _parts(rows):
                self._branch(block, some)
            member.meet()
            self._scan(block, member.share(len(block.rates[0])))
            member.meet()
            before = block
        for some in _parts(rows):
            self._leave(self._blocks[-1], some, scratch)

    def _enter(self, block: _Block, rows: slice, scratch: _Scratch) -> None:
        """Norm, and rounding for the input projection."""
        hidden, levels = self._hidden[rows], self._levels[rows].numpy()
        epsilon = self._config.layer_norm_epsilon
        if not self._is_int8:
            return _loops().rms_norm(hidden, block.norm, epsilon, levels)
        normed = scratch.normed[: len(hidden)]
        _loops().rms_norm(hidden, block.norm, epsilon, normed)
        return _loops().quantise(normed, levels, self._scales[rows])

    def _branch(self, block: _Block, rows: slice) -> None:
        """Both branches up to their scans; the convolution reads three rows on either side."""
        first, last = rows.start, rows.stop
        start, end = max(0, first - TAPS + 1), min(len(self.hidden), last + TAPS - 1)
        x = block.to_x(self._levels[start:end])
        taps = (block.taps, block.taps_bias)
        _loops().convolve(x, self._scales, *taps, _array(self._u), start, first, last)
        rank = self._config.dt_rank
        for u, narrow, steps, to_narrow, to_step in zip(
            self._u, self._narrow, self._steps, block.to_narrow, block.to_step, strict=True
        ):
            torch.mm(u[rows], to_narrow, out=narrow[rows])
            torch.mm(narrow[rows, :rank], to_step, out=steps[rows])

    def _scan(self, block: _Block, vectors: range) -> None:
        activations = (_array(self._u), _array(self._steps), _array(self._narrow))
        weights = (block.step_bias, block.rates, block.skip)
        share = (vectors.start, vectors.stop, self._numbers)
        _loops().scan_both(*activations, self._config.dt_rank, *weights, self._y, *share)

    def _leave(self, block: _Block, rows: slice, scratch: _Scratch) -> None:
        """Gate and output projection, added to the residual stream."""
        count = rows.stop - rows.start
        gated = scratch.gated[:count]
        z = block.to_z(self._levels[rows])
        _loops().gate(self._y[rows], z, self._scales[rows], gated.numpy())
        if self._is_int8:
            levels, scales = scratch.levels[:count], scratch.scales[:count]
            _loops().quantise(gated.numpy(), levels.numpy(), scales)
            _loops().add_rows(self._hidden[rows], block.out(levels), scales)
        else:
            _loops().add_rows(self._hidden[rows], block.out(gated), scratch.scales[:count])


class _Scratch:
    """A thread's own memory."""

    def __init__(self, config: VideoMambaConfig) -> None:
        channels = config.intermediate_size
        self.normed = torch.empty(ROWS_AT_ONCE, config.hidden_size).numpy()
        self.gated = torch.empty(ROWS_AT_ONCE, channels)
        self.levels = torch.empty(ROWS_AT_ONCE, channels, dtype=torch.uint8)
        self.scales = torch.ones(ROWS_AT_ONCE).numpy()


def _parts(rows: range) -> Iterator[slice]:
    for first in range(rows.start, rows.stop, ROWS_AT_ONCE):
        yield slice(first, min(first + ROWS_AT_ONCE, rows.stop))


def _array(tensor: Tensor) -> Any:
    """As numba takes it: bfloat16 as integers of its size."""
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _narrow_format(is_int8: bool) -> torch.dtype:
    return torch.bfloat16 if is_int8 and _has_fast_bfloat16() else torch.float32


@cache
def _has_fast_bfloat16() -> bool:
    """Whether this processor multiplies bfloat16."""
    supported = getattr(torch.cpu, "_is_avx512_bf16_supported", None)
    return bool(supported and supported())


@cache
def _loops() -> Any:
    from mobile_videogpt.engines import mamba_loops

    return mamba_loops
