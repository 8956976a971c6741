"""MovingShapes: a seeded world of moving shapes, its clips, and exact questions about them."""

from .dataset import write_dataset
from .world import Clip, make_clip

__all__ = ["Clip", "make_clip", "write_dataset"]
