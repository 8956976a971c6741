"""Visual tokens on disk, shared by every process on a machine, found by content.

One file per entry, named by a hash of everything that decides what is in it. A file is written
under another name and renamed, so that a reader sees a whole entry or none, whoever was killed in
between. Nobody holds a lock: two processes that compute the same entry write the same. Reading an
entry renews its time; what was not used for longest goes when the cache outgrows its limit.
"""

from __future__ import annotations

import hashlib
import json
import logging
import os
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import torch

from mobile_videogpt import __version__

logger = logging.getLogger(__name__)

DEFAULT_CACHE_BYTES = 2 << 30
SUFFIX = ".safetensors"
# A file still unnamed after this long was left behind by a process that was killed.
_ABANDONED_S = 3600.0
# When there is too much, make room for a while: sorting all entries at every write would be waste.
_FILL_AFTER_EVICTION = 0.9


class DiskCache:
    """Tensors and a little JSON by key, in a folder of at most `max_bytes`.

    Nothing that goes wrong with the cache ends the caller's work: what cannot be read counts as
    missing, what cannot be written is not kept.

    Args:
        folder: made when the first entry is written; nothing else should lie in it.
        max_bytes: size at which the entries that were not used for longest are deleted.

    Raises:
        ValueError: the folder is a file, or the size is not positive.
    """

    def __init__(self, folder: str | Path, max_bytes: int = DEFAULT_CACHE_BYTES) -> None:
        self.folder = Path(folder).expanduser()
        self.max_bytes = max_bytes
        if self.folder.exists() and not self.folder.is_dir():
            raise ValueError(f"the cache folder {self.folder} is a file; name a folder")
        if max_bytes <= 0:
            raise ValueError(f"the cache may hold {max_bytes} bytes; allow more than 0")

    def read(self, key: str) -> tuple[dict[str, torch.Tensor], dict[str, Any]] | None:
        """The tensors and the document of an entry, or None."""
        from safetensors import safe_open

        path = self._path(key)
        try:
            with safe_open(path, framework="pt") as file:
                tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
                document = json.loads((file.metadata() or {})["document"])
            os.utime(path)
        except FileNotFoundError:
            return None
        except Exception as error:
            logger.warning("the cache entry %s cannot be used and is deleted: %s", path, error)
            _delete(path)
            return None
        return tensors, document

    def write(self, key: str, tensors: dict[str, torch.Tensor], document: dict[str, Any]) -> None:
        """Keep an entry, and delete the oldest ones if there are too many now."""
        from safetensors.torch import save_file

        path = self._path(key)
        partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
        plain = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
        if sum(tensor.nbytes for tensor in plain.values()) > self.max_bytes:
            return
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            save_file(plain, partial, metadata={"document": json.dumps(document)})
            os.replace(partial, path)
        except Exception as error:  # a full disk, no permission: the answer matters more
            logger.warning("the cache in %s cannot be written: %s", self.folder, error)
            return
        finally:
            _delete(partial)
        self._make_room()

    def size_bytes(self) -> int:
        """What all entries together take."""
        return sum(size for _, _, size in self._entries())

    def clear(self) -> None:
        """Delete all entries."""
        for _, path, _ in self._entries():
            _delete(path)

    def _path(self, key: str) -> Path:
        # Another version may compute or store something else under the same key.
        name = hashlib.sha256(f"{__version__} {key}".encode()).hexdigest()
        return self.folder / name[:2] / f"{name}{SUFFIX}"

    def _entries(self) -> list[tuple[float, Path, int]]:
        """(last use, path, bytes) of every entry; what another process deletes meanwhile is out."""
        found = []
        for path in self.folder.glob(f"??/*{SUFFIX}"):
            with suppress(FileNotFoundError):
                status = path.stat()
                found.append((status.st_mtime, path, status.st_size))
        return found

    def _make_room(self) -> None:
        self._delete_abandoned()
        entries = sorted(self._entries())
        total = sum(size for _, _, size in entries)
        if total <= self.max_bytes:
            return
        for _, path, size in entries:
            if total <= self.max_bytes * _FILL_AFTER_EVICTION:
                return
            _delete(path)
            total -= size

    def _delete_abandoned(self) -> None:
        for path in self.folder.glob("??/.*.partial"):
            with suppress(FileNotFoundError):
                if time.time() - path.stat().st_mtime > _ABANDONED_S:
                    _delete(path)


def _delete(path: Path) -> None:
    # Windows refuses while another process reads it: then it goes the next time.
    with suppress(OSError):
        path.unlink(missing_ok=True)
