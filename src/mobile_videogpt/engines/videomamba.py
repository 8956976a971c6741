"""VideoMamba on a CPU as compiled loops between its matrix products, where numba is installed.

It gives what `models.videomamba.VideoMambaModel` gives; the tests compare the two. What it saves:
activations pass through a few hundred rows at a time, in the processor's cache, from one product to
the next; a state of the scan stays in a register; all cores work all the time.

Matrices are float32 or bfloat16, where the processor multiplies that; then what lies between two
products is bfloat16, too. 8 bits would not pay: their product takes half the time, but packing its
matrix takes longer than that, and a video multiplies it only once.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open
from torch import Tensor
from torch.nn import functional as F

from mobile_videogpt.config import VideoMambaConfig
from mobile_videogpt.engines.base import Pause, in_pieces
from mobile_videogpt.engines.devices import multiplies_bfloat16
from mobile_videogpt.engines.memory import forget_file
from mobile_videogpt.engines.team import Member, run_together
from mobile_videogpt.models.scan_kernel import LANES, WORTHWHILE_STATES, decay_rates, has_numba

# Rows that pass from product to product: for each call oneDNN packs the matrix anew, which few rows
# do not repay, and many rows leave the cache.
ROWS_AT_ONCE = 800
TAPS = 4  # of the convolution that the loop is written for
BLOCKS_AT_ONCE = 2  # between two pauses, where somebody wants them


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
    return VideoMambaRunner(path, config)


def _below(tensors: Mapping[str, Tensor] | Path, prefix: str) -> Mapping[str, Tensor]:
    """Those whose names begin with `prefix`, which is left out; "": those of no block."""
    if isinstance(tensors, Path):
        with safe_open(tensors, framework="pt") as file:
            return {short: file.get_tensor(n) for n, short in _names(file.keys(), prefix)}
    return {short: tensors[n] for n, short in _names(tensors, prefix)}


def _names(names: Iterable[str], prefix: str) -> Iterator[tuple[str, str]]:
    for name in names:
        if name.startswith(prefix) if prefix else "/" not in name:
            yield name, name.removeprefix(prefix)


class VideoMambaRunner:
    """Runs a video encoder from the tensors that `videomamba_weights` makes of one.

    Args:
        tensors: by the names that `_Block` and `_embed` look up, or a file of them, of which one
            block at a time is in memory.
        config: the encoder's.
    """

    def __init__(self, tensors: Mapping[str, Tensor] | Path, config: VideoMambaConfig) -> None:
        self.config = config
        self._source = tensors
        self._tensors = {n: t.float() for n, t in _below(tensors, "").items()}

    @property
    def number_format(self) -> str:
        """The format in which matrices are multiplied here."""
        matrix = _below(self._source, "0/")["out"]
        return str(_number_format(matrix)).removeprefix("torch.")

    @staticmethod
    def fits(config: VideoMambaConfig, frames: int) -> bool:
        """Whether the loops can run a clip of so many frames here, and are worth it."""
        return is_worthwhile(config, frames) and has_numba()

    @torch.inference_mode()
    def __call__(self, pixel_values: Tensor, pause: Pause = None) -> Tensor:
        """Map pixels (B, T, 3, H, W) to tokens (B, 1 + T * N, D), the class token first."""
        return torch.stack([self._encode(clip, pause) for clip in pixel_values])

    def _encode(self, clip: Tensor, pause: Pause) -> Tensor:
        run = _Pass(self._source, self._embed(clip), self.config)
        for blocks in in_pieces(self.config.num_hidden_layers, BLOCKS_AT_ONCE, pause):
            run_together(partial(run.work, blocks=blocks))
        _let_compiler_go()
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


class _Block:
    """The weights of one block; branches stacked, forward first."""

    def __init__(self, own: Mapping[str, Tensor]) -> None:
        kind = _number_format(own["out"])
        self.to_x, self.to_z, self.out = (
            own[name].to(kind).t() for name in ("to_x", "to_z", "out")
        )
        self.norm = own["norm"].numpy()
        self.taps = own["taps"].numpy()  # (2, 4, C)
        self.taps_bias = own["taps_bias"].numpy()
        self.to_narrow = own["to_narrow"].to(kind).mT  # (2, C, rank + 2 N)
        self.to_step = own["to_step"].to(kind).mT  # (2, rank, C)
        self.step_bias = own["step_bias"].numpy()
        self.rates = decay_rates(own["decay"]).numpy()  # (2, C / 16, N, 16)
        self.skip = own["skip"].numpy()


class _Pass:
    """One clip on its way through the blocks; `hidden` is its residual stream, (L, D)."""

    def __init__(
        self, source: Mapping[str, Tensor] | Path, hidden: Tensor, config: VideoMambaConfig
    ) -> None:
        self._source = source
        self._config = config
        self.hidden = hidden
        self._hidden = hidden.numpy()
        (length, dim), channels = hidden.shape, config.intermediate_size
        self._block = self._next = self._read(0)
        self._kind = self._block.out.dtype
        # What one product leaves for a later one; one share of the rows for each thread.
        self._normed = self._empty(length, dim)
        self._u = self._empty(2, length, channels)
        self._narrow = self._empty(2, length, config.dt_rank + 2 * config.state_size)
        self._steps = self._empty(2, length, channels)
        self._y = torch.empty(length, channels).numpy()
        self._numbers = (0,) * config.state_size

    def work(self, member: Member, blocks: slice) -> None:
        """What one thread does; the blocks' products need its rows only, the scan all of them."""
        rows = member.share(len(self.hidden))
        # Memory of its own: taking fresh memory for each product costs as much as the product.
        wide = self._empty(2, ROWS_AT_ONCE + 2 * (TAPS - 1), self._config.intermediate_size)
        added = self._empty(ROWS_AT_ONCE, self._config.hidden_size)
        count = self._config.num_hidden_layers
        for number in range(blocks.start, blocks.stop):
            block = self._next
            for some in _parts(rows):
                if number:
                    self._leave(self._block, some, wide, added)
                self._enter(block, some)
            member.meet()
            for some in _parts(rows):
                self._branch(block, some, wide[0])
            member.meet()
            if member.rank == 0:
                self._block = block
                self._next = self._read(number + 1) if number + 1 < count else block
            self._scan(block, member.share(len(block.rates[0])))
            member.meet()
        if blocks.stop == count:
            for some in _parts(rows):
                self._leave(self._block, some, wide, added)

    def _read(self, number: int) -> _Block:
        return _Block(_below(self._source, f"{number}/"))

    def _empty(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=self._kind)

    def _enter(self, block: _Block, rows: slice) -> None:
        """The norm."""
        normed = _array(self._normed[rows])
        _loops().rms_norm(self._hidden[rows], block.norm, self._config.layer_norm_epsilon, normed)

    def _branch(self, block: _Block, rows: slice, x: Tensor) -> None:
        """Both branches up to their scans; the convolution reads three rows on either side."""
        first, last = rows.start, rows.stop
        start, end = max(0, first - TAPS + 1), min(len(self.hidden), last + TAPS - 1)
        x = torch.mm(self._normed[start:end], block.to_x, out=x[: end - start])
        taps = (block.taps, block.taps_bias)
        _loops().convolve(_array(x), *taps, _array(self._u), start, first, last)
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

    def _leave(self, block: _Block, rows: slice, wide: Tensor, added: Tensor) -> None:
        """Gate and output projection, added to the residual stream."""
        count = rows.stop - rows.start
        z, gated = wide[:, :count]
        torch.mm(self._normed[rows], block.to_z, out=z)
        _loops().gate(self._y[rows], _array(z), _array(gated))
        added = torch.mm(gated, block.out, out=added[:count])
        _loops().add_rows(self._hidden[rows], _array(added))


def _parts(rows: range) -> Iterator[slice]:
    for first in range(rows.start, rows.stop, ROWS_AT_ONCE):
        yield slice(first, min(first + ROWS_AT_ONCE, rows.stop))


def _array(tensor: Tensor) -> Any:
    """As numba takes it: bfloat16 as integers of its size."""
    return (tensor.view(torch.int16) if tensor.dtype == torch.bfloat16 else tensor).numpy()


def _number_format(matrix: Tensor) -> torch.dtype:
    return (
        torch.bfloat16
        if matrix.dtype == torch.bfloat16 and multiplies_bfloat16()
        else torch.float32
    )


@cache
def _let_compiler_go() -> None:
    """Once everything is compiled: LLVM has 70 MB in memory by then."""
    forget_file("libllvmlite")


@cache
def _loops() -> Any:
    from mobile_videogpt.engines.loops import mamba

    return mamba
