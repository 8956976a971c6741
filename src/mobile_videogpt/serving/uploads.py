"""Files that clients sent ahead, to name by id; in a folder of their own, for a while."""

from __future__ import annotations

import hashlib
import re
import secrets
import shutil
import tempfile
import threading
import time
from collections import Counter, OrderedDict
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

from mobile_videogpt.serving.errors import ApiError
from mobile_videogpt.serving.settings import ServerSettings

_LONGEST_NAME = 100
_MOST_FILES = 1000


@dataclass(frozen=True)
class Upload:
    """One file."""

    id: str
    owner: str
    name: str
    size: int
    created: int
    digest: str = ""
    """SHA-256 of what is in it."""

    def document(self) -> dict[str, Any]:
        """As OpenAI's API shows a file."""
        return {
            "id": self.id,
            "object": "file",
            "bytes": self.size,
            "created_at": self.created,
            "filename": self.name,
            "purpose": "vision",
            "status": "processed",
        }


class Uploads:
    """The files of all clients; each sees its own.

    Args:
        settings: how much is kept, and for how long.
    """

    def __init__(self, settings: ServerSettings) -> None:
        self._max_bytes = settings.max_upload_bytes
        self._lifetime_s = settings.upload_lifetime_s
        self._folder: Path | None = None
        self._lock = threading.Lock()
        self._kept: OrderedDict[str, Upload] = OrderedDict()
        self._used: dict[str, float] = {}

    def add(self, file: IO[bytes], name: str, size: int, owner: str) -> Upload:
        """Keep a file; files of whoever has the most make room, those first that wait longest.

        Raises:
            ApiError: it is empty or larger than all uploads together may be, or the disk is full.
        """
        if not 0 < size <= self._max_bytes:
            raise ApiError(
                400 if not size else 413,
                f"the file has {size} bytes; send between 1 and {self._max_bytes}",
                param="file",
            )
        digest = hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]
        file.seek(0)
        file_id, now = f"file-{secrets.token_hex(16)}", int(time.time())
        upload = Upload(file_id, owner, _tidy(name), size, now, digest)
        with self._lock:
            self._make_room(upload)
            path = self._path(upload.id)
        try:
            with path.open("wb") as target:
                shutil.copyfileobj(file, target)
        except OSError as error:
            path.unlink(missing_ok=True)
            raise ApiError(507, "the server has no room for the file: try again later") from error
        with self._lock:
            # Others came meanwhile, perhaps.
            self._make_room(upload)
            self._kept[upload.id] = upload
            self._used[upload.id] = time.monotonic()
        return upload

    def find(self, file_id: str, owner: str) -> Upload:
        """A client's own file.

        Raises:
            ApiError: there is none of that id.
        """
        with self._lock:
            self._forget_old()
            upload = self._kept.get(file_id)
            if upload is None or upload.owner != owner:
                raise ApiError(404, "there is no such file: upload it (again)", "file_not_found")
            self._kept.move_to_end(file_id)
            self._used[file_id] = time.monotonic()
            return upload

    def read(self, file_id: str, owner: str) -> bytes:
        """What is in a file.

        Raises:
            ApiError: there is none of that id.
        """
        upload = self.find(file_id, owner)
        try:
            return self._path(upload.id).read_bytes()
        except OSError:
            raise ApiError(
                404, "there is no such file: upload it (again)", "file_not_found"
            ) from None

    def of(self, owner: str) -> list[Upload]:
        """All files of a client, oldest first."""
        with self._lock:
            self._forget_old()
            return [upload for upload in self._kept.values() if upload.owner == owner]

    def delete(self, file_id: str, owner: str) -> None:
        """Forget a file.

        Raises:
            ApiError: there is none of that id.
        """
        upload = self.find(file_id, owner)
        with self._lock:
            self._drop(upload.id)

    def close(self) -> None:
        """Delete everything."""
        with self._lock:
            self._kept.clear()
            if self._folder is not None:
                shutil.rmtree(self._folder, ignore_errors=True)
                self._folder = None

    def _path(self, file_id: str) -> Path:
        if self._folder is None:
            self._folder = Path(tempfile.mkdtemp(prefix="mobile-videogpt-"))
        return self._folder / file_id

    def _make_room(self, new: Upload) -> None:
        """Who fills the folder loses files, not who happens to have older ones."""
        self._forget_old()
        while self._kept:
            kept = [*self._kept.values(), new]
            if sum(one.size for one in kept) <= self._max_bytes and len(kept) <= _MOST_FILES:
                return
            used: Counter[str] = Counter()
            for one in kept:
                # By bytes, and by files where those are many and small.
                used[one.owner] += one.size + self._max_bytes // _MOST_FILES
            greatest = max(used, key=lambda owner: used[owner])
            own = [one.id for one in self._kept.values() if one.owner == greatest]
            self._drop(own[0] if own else next(iter(self._kept)))

    def _forget_old(self) -> None:
        latest = time.monotonic() - self._lifetime_s
        for file_id in [key for key, used in self._used.items() if used < latest]:
            self._drop(file_id)

    def _drop(self, file_id: str) -> None:
        self._kept.pop(file_id, None)
        self._used.pop(file_id, None)
        with suppress(OSError):
            self._path(file_id).unlink(missing_ok=True)


def _tidy(name: str) -> str:
    """A file name fit to be shown: no path, no control characters."""
    last = re.split(r"[/\\]", name)[-1]
    return "".join(char for char in last if char.isprintable())[:_LONGEST_NAME] or "video"
