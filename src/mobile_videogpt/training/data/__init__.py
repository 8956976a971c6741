"""Training data on disk -> records in a fixed order.

``records`` says what a sample is, ``annotations`` reads files of them (``entries`` finds the
entries of a file, ``media_tags`` settles which clip stands where), ``mixture`` mixes files in a
deterministic order, ``convert`` writes them in another layout. ``check`` and ``stats`` look at what
is there. Nothing here needs torch.
"""

from .annotations import read_annotations
from .mixture import Mixture, load_mixture
from .records import DataError, Media, Record, Turn

__all__ = [
    "DataError",
    "Media",
    "Mixture",
    "Record",
    "Turn",
    "load_mixture",
    "read_annotations",
]
