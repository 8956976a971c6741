"""What clients may name as a video: data URLs, uploads, and addresses where that is allowed."""

from __future__ import annotations

import asyncio
import base64
import binascii
import hashlib
import json
import urllib.parse
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from functools import partial
from typing import Any, TypeVar

from mobile_videogpt.serving.decoding.wire import Sampling
from mobile_videogpt.serving.errors import bad_request
from mobile_videogpt.serving.fetch import fetch
from mobile_videogpt.serving.settings import ServerSettings
from mobile_videogpt.serving.uploads import Uploads

T = TypeVar("T")

UPLOAD_PREFIX = "file-"
# Bytes that are hashed or decoded in a millisecond: a thread would take longer to begin.
_SMALL = 1 << 20


@dataclass(frozen=True)
class MediaRequest:
    """A video as a message names it.

    Attributes:
        kind: "video" (one address), or "pictures" (its frames in order).
        addresses: data URLs, upload ids or http(s) addresses.
        sampling: which frames are wanted.
        param: where in the request it stands, for messages.
    """

    kind: str
    addresses: tuple[str, ...]
    sampling: Sampling
    param: str


@dataclass(frozen=True)
class MediaFile:
    """A file, which may still lie on the disk."""

    digest: str
    read: Callable[[], bytes]


@dataclass(frozen=True)
class Media:
    """The files behind a `MediaRequest`."""

    kind: str
    files: tuple[MediaFile, ...]
    sampling: Sampling
    key: str
    """Equal for equal files that are sampled in the same way."""

    def read(self) -> list[bytes]:
        """What is in the files.

        Raises:
            ApiError: an upload was deleted meanwhile.
        """
        return [file.read() for file in self.files]


class MediaReader:
    """Finds the bytes that clients name.

    Args:
        settings: what is allowed.
        uploads: files that were sent before.
    """

    def __init__(self, settings: ServerSettings, uploads: Uploads) -> None:
        self._settings = settings
        self._uploads = uploads

    async def read(self, request: MediaRequest, owner: str) -> Media:
        """The files of one video.

        Args:
            request: what the client named.
            owner: whose uploads may be used.

        Raises:
            ApiError: an address is of another kind, not allowed, or leads nowhere.
        """
        self._check_number(request)
        files = [await self._file(address, owner, request) for address in request.addresses]
        return _with_key(request, files)

    def _check_number(self, request: MediaRequest) -> None:
        allowed = self._settings.limits.pictures
        if len(request.addresses) > allowed:
            raise bad_request(
                f"a video of {len(request.addresses)} pictures is too long, {allowed} are allowed",
                request.param,
            )

    async def _file(self, address: str, owner: str, request: MediaRequest) -> MediaFile:
        scheme = address[:8].lower()
        if scheme.startswith("data:"):
            return await beside(len(address), _from_data_url, address, request.param)
        if address.startswith(UPLOAD_PREFIX):
            # Read when it is needed: of a video that is known already never.
            upload = self._uploads.find(address, owner)
            return MediaFile(upload.digest, partial(self._uploads.read, address, owner))
        if scheme.startswith(("http://", "https://")):
            return await self._fetched(address, request)
        raise bad_request(
            f"{_shown(address)} is no address that this server reads: give a data URL "
            f"(data:video/mp4;base64,...) or the id of an upload ({UPLOAD_PREFIX}...)",
            request.param,
        )

    async def _fetched(self, address: str, request: MediaRequest) -> MediaFile:
        if not self._settings.allow_fetch:
            raise bad_request(
                "this server fetches no addresses: send the video as a data URL or upload it first",
                request.param,
                "fetch_not_allowed",
            )
        data = await asyncio.to_thread(fetch, address, self._settings.max_body_bytes)
        return await beside(len(data), _in_memory, data)


async def beside(size: int, work: Callable[..., T], *arguments: Any) -> T:
    """Call a function on `size` bytes: in a thread where it would hold other clients up."""
    if size < _SMALL:
        return work(*arguments)
    return await asyncio.to_thread(work, *arguments)


def _in_memory(data: bytes) -> MediaFile:
    return MediaFile(hashlib.sha256(data).hexdigest(), lambda: data)


def _from_data_url(address: str, param: str) -> MediaFile:
    head, comma, body = address.partition(",")
    if not comma:
        raise bad_request("a data URL has no comma: write data:video/mp4;base64,...", param)
    try:
        if head.lower().endswith(";base64"):
            data = base64.b64decode(urllib.parse.unquote_to_bytes(body), validate=True)
        else:
            data = urllib.parse.unquote_to_bytes(body)
    except (binascii.Error, ValueError):
        raise bad_request("a data URL is not valid base64: encode the file again", param) from None
    if not data:
        raise bad_request("a data URL is empty: send a whole file", param)
    return _in_memory(data)


def _with_key(request: MediaRequest, files: Sequence[MediaFile]) -> Media:
    digest = hashlib.sha256(f"{request.kind} {json.dumps(asdict(request.sampling))}".encode())
    for file in files:
        digest.update(bytes.fromhex(file.digest))
    return Media(request.kind, tuple(files), request.sampling, digest.hexdigest())


def _shown(address: str) -> str:
    return repr(address if len(address) <= 60 else f"{address[:60]}...")
