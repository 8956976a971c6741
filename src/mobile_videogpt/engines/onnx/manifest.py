"""What an exported folder says about itself: `onnx_engine.json`."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass, field
from pathlib import Path

FILE = "onnx_engine.json"
FORMAT_VERSION = 5

PARTS = ("image_encoder", "selection", "video_encoder", "projectors", "language_model", "prefill")
EMBEDDINGS = "embeddings.npy"


@dataclass(frozen=True)
class Part:
    """One exported part."""

    number_format: str
    """Of its matrices: float32, int8 or int4."""
    files: dict[str, int]
    """Name -> bytes."""
    error: float | None = None
    """Root of the mean squared difference from torch, as a share of the output's own."""
    tolerance: float | None = None
    """The largest error at which the export is accepted."""


@dataclass(frozen=True)
class Manifest:
    """The contents of `onnx_engine.json`."""

    model: str
    fingerprint: str
    """Of the weights and of how they are stored."""
    parts: dict[str, Part]
    versions: dict[str, str] = field(default_factory=dict)
    seconds: float = 0.0
    """What the export took."""
    format_version: int = FORMAT_VERSION

    @property
    def num_bytes(self) -> int:
        """All exported files together."""
        return sum(sum(part.files.values()) for part in self.parts.values())

    def write(self, folder: Path) -> None:
        """Write the file into `folder`."""
        text = json.dumps(asdict(self), indent=2) + "\n"
        (folder / FILE).write_text(text, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path) -> Manifest:
        """Read the file in `folder`.

        Raises:
            ValueError: there is none, or another version of this package wrote it.
        """
        try:
            raw = json.loads((folder / FILE).read_text(encoding="utf-8"))
            version = raw.pop("format_version")
            if version == FORMAT_VERSION:
                parts = {name: Part(**part) for name, part in raw.pop("parts").items()}
                return cls(parts=parts, **raw)
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise ValueError(
                f"{folder} holds no readable {FILE}; make one with "
                "`mobile-videogpt export --engine onnx MODEL OUT`"
            ) from error
        raise ValueError(
            f"{folder} was exported in format {version}, but this version reads format "
            f"{FORMAT_VERSION}; export the model again"
        )


def is_export(folder: str | Path) -> bool:
    """Whether a folder holds an export for the ONNX engine."""
    return (Path(folder) / FILE).is_file()
