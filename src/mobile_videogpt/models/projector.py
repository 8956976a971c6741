"""Projectors from encoder features to the language model's embedding space (paper section 3.3)."""

import math

from torch import Tensor, nn
from torch.nn import functional as F


def pool_grid(tokens: Tensor, grid: int) -> Tensor:
    """Average-pool a square grid of tokens adaptively.

    Args:
        tokens: (..., N, D), row-major, N a square.
        grid: side of the resulting grid; may be larger than the present one.

    Returns:
        (..., grid * grid, D).

    Raises:
        ValueError: if N is not a square.
    """
    *lead, count, dim = tokens.shape
    side = grid_side(count)
    if side == grid:  # averages of single cells
        return tokens
    planes = tokens.reshape(-1, side, side, dim).permute(0, 3, 1, 2)  # (B, D, H, W)
    pooled = F.adaptive_avg_pool2d(planes, grid)
    return pooled.flatten(2).mT.reshape(*lead, grid * grid, dim)


def grid_side(count: int) -> int:
    """Return the side of a square grid of ``count`` tokens, or raise ``ValueError``."""
    side = math.isqrt(count)
    if side * side != count:
        raise ValueError(
            f"{count} tokens do not form a square grid; use an encoder with a square patch grid."
        )
    return side


class EfficientTokenProjector(nn.Module):
    """Equation 5: ``X'' = PosEnc(TokenReduction(FFN(x)))``.

    FFN is ``Linear, GELU, Linear``; TokenReduction is adaptive average pooling of the square token
    grid to ``grid``; PosEnc is ``x + conv(x)`` with a depthwise 3 x 3 convolution, so that a token
    knows its neighbourhood.
    """

    def __init__(self, in_dim: int, out_dim: int, grid: int) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.Linear(in_dim, out_dim), nn.GELU(), nn.Linear(out_dim, out_dim))
        self.position_encoder = nn.Conv2d(out_dim, out_dim, 3, padding=1, groups=out_dim)
        self.grid = grid

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, N, in_dim), N any square, to (B, grid * grid, out_dim)."""
        tokens = pool_grid(self.ffn(features), self.grid)  # (B, grid * grid, E)
        planes = tokens.mT.unflatten(-1, (self.grid, self.grid))  # (B, E, grid, grid)
        return (planes + self.position_encoder(planes)).flatten(2).mT.contiguous()


class MLPProjector(nn.Module):
    """``Linear, GELU, Linear`` per token, no reduction: the baseline of the paper's table 3."""

    def __init__(self, in_dim: int, out_dim: int) -> None:
        super().__init__()
        self.ffn = nn.Sequential(nn.Linear(in_dim, out_dim), nn.GELU(), nn.Linear(out_dim, out_dim))

    def forward(self, features: Tensor) -> Tensor:
        """Map (B, N, in_dim) to (B, N, out_dim)."""
        return self.ffn(features)


def build_projector(kind: str, in_dim: int, out_dim: int, grid: int) -> nn.Module:
    """Return the projector that a configuration names: ``"etp"`` or ``"mlp"``."""
    if kind == "mlp":
        return MLPProjector(in_dim, out_dim)
    return EfficientTokenProjector(in_dim, out_dim, grid)
