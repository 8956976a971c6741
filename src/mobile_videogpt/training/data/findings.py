"""What can be wrong with an entry, and what is only worth knowing."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

# An entry with one of these is left out of the cleaned annotations.
PROBLEMS = {
    "annotations": "An annotation file that cannot be read at all.",
    "json": "Lines that are not JSON.",
    "fields": "Entries whose fields do not make a conversation.",
    "placeholders": "The tags <video> and <image> do not match the files.",
    "empty_answer": "Nothing could be learned: an answer is empty.",
    "empty_question": "A user turn says nothing and shows nothing.",
    "special_tokens": "Text that holds control tokens of the chat format.",
    "too_long": "Longer than the model's context, by an estimate.",
    "repeated": "The same media with the same words once more.",
    "missing": "Files that are not there, or empty.",
    "undecodable": "Files from which no frame, or less than half of those tried, can be decoded.",
    "crash": "Files that crash the decoder.",
    "hang": "Files that take longer than the time limit.",
    "too_short": "Videos, or stretches of them, with too few frames.",
    "outside": "Stretches that begin after the end of the video.",
}
# These are reported and kept.
WARNINGS = {
    "duplicate_media": "Different files with the same content: harmless within a split, a leak "
    "between training and validation.",
    "odd_media": "Files that decode, but look wrong.",
}


@dataclass(frozen=True)
class Finding:
    """One thing that is wrong with one entry (or a file, where `index` is None)."""

    kind: str
    source: str
    index: int | None
    origin: str
    message: str
    id: str = ""
    path: Path | None = None

    def as_json(self) -> dict[str, str]:
        """For the report."""
        document = {"source": self.source, "origin": self.origin, "message": self.message}
        if self.id:
            document["id"] = self.id
        if self.path is not None:
            document["path"] = str(self.path)
        return document
