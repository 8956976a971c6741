"""The one exception of this room, and how it names tensors."""

from collections.abc import Collection


class CheckpointError(ValueError):
    """A checkpoint cannot be read, fetched or fitted to the model; says what to do."""


def name_some(names: Collection[str], at_most: int = 3) -> str:
    """Name a few of many: ``a, b, c and 12 more``."""
    shown = sorted(names)[:at_most]
    rest = len(names) - len(shown)
    return ", ".join(shown) + (f" and {rest} more" if rest else "")
