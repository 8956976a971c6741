"""The file of descriptions that a killed `describe` leaves behind and the next one takes up."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mobile_videogpt.files import JsonLinesFile


class JsonLines(JsonLinesFile):
    """Appends records to `path`, one line each, written through at once.

    Args:
        path: a file, existing or not; a device such as /dev/stdout is only written to.

    Raises:
        ValueError: a line of an existing file is no JSON document.
    """

    def __init__(self, path: Path) -> None:
        super().__init__(path, "give --output a file that `describe` wrote, or a new one")

    def done(self, identity: dict[str, Any]) -> set[str]:
        """Videos whose latest record with these values holds a description."""
        state: dict[str, bool] = {}
        for record in self.records:
            if all(record.get(name) == value for name, value in identity.items()):
                state[record.get("video", "")] = "description" in record
        return {video for video, is_done in state.items() if is_done}
