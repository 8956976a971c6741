"""`/`, `/docs` and what they are made of: a few files that are read once."""

from __future__ import annotations

import asyncio
import hashlib
from dataclasses import dataclass
from importlib import resources
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from mobile_videogpt.serving.errors import ApiError
from mobile_videogpt.serving.page.examples import EXAMPLES, documents, film

BASE = "/page"
_TYPES = {
    "css": "text/css; charset=utf-8",
    "html": "text/html; charset=utf-8",
    "js": "text/javascript; charset=utf-8",
    "svg": "image/svg+xml",
}
# Only this server's own files run or are asked for; blob: and data: are the user's videos and the
# frames that come as JSON.
_POLICY = "; ".join(
    [
        "default-src 'none'",
        "script-src 'self'",
        "style-src 'self'",
        "img-src 'self' data: blob:",
        "media-src 'self' blob:",
        "connect-src 'self'",
        "base-uri 'none'",
        "form-action 'none'",
        "frame-ancestors 'none'",
    ]
)
HEADERS = {
    "Content-Security-Policy": _POLICY,
    "Permissions-Policy": "camera=(self), microphone=(), geolocation=(), display-capture=()",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
}
# Asked again each time, by its tag: a new release's files never mix with the old one's.
_CACHE = "no-cache"


@dataclass(frozen=True)
class StaticFile:
    """A file of the page, with how it is sent."""

    content: bytes
    media_type: str
    tag: str

    def response(self, request: Request) -> Response:
        """The file, or word that the browser has it."""
        headers = {**HEADERS, "Cache-Control": _CACHE, "ETag": self.tag}
        if self.tag in request.headers.get("if-none-match", ""):
            return Response(status_code=304, headers=headers)
        return Response(self.content, media_type=self.media_type, headers=headers)


def is_page(path: str) -> bool:
    """Whether an address is the page's own: open to everybody, as a key is typed into it."""
    return path in ("/", "/docs", "/favicon.ico") or path.startswith(f"{BASE}/")


def read_files() -> dict[str, StaticFile]:
    """The page's files by name."""
    folder = resources.files(__package__) / "static"
    files = {}
    for item in folder.iterdir():
        media_type = _TYPES.get(item.name.rsplit(".", 1)[-1])
        if media_type and item.is_file():
            files[item.name] = _static(item.read_bytes(), media_type)
    return files


def page_routes() -> APIRouter:
    """The routes; none of them is part of the API."""
    router = APIRouter(include_in_schema=False)
    files = read_files()
    films = {example.name: example for example in EXAMPLES}
    pages = {"/": "index.html", "/docs": "docs.html", "/favicon.ico": "icon.svg"}

    @router.api_route("/", methods=["GET", "HEAD"])
    @router.api_route("/docs", methods=["GET", "HEAD"])
    @router.api_route("/favicon.ico", methods=["GET", "HEAD"])
    async def show_page(request: Request) -> Response:
        return files[pages[request.url.path]].response(request)

    @router.get(f"{BASE}/examples")
    async def list_examples() -> Response:
        listed: dict[str, Any] = {"examples": documents(f"{BASE}/examples")}
        return JSONResponse(listed, headers=HEADERS)

    @router.get(f"{BASE}/examples/{{name}}")
    async def show_example(name: str, request: Request) -> Response:
        if name not in films:
            raise _nothing_there()
        content = await asyncio.to_thread(film, films[name])
        return _static(content, "video/mp4").response(request)

    @router.get(f"{BASE}/{{name}}")
    async def show_file(name: str, request: Request) -> Response:
        if name not in files:
            raise _nothing_there()
        return files[name].response(request)

    return router


def _static(content: bytes, media_type: str) -> StaticFile:
    return StaticFile(content, media_type, f'"{hashlib.sha256(content).hexdigest()[:32]}"')


def _nothing_there() -> ApiError:
    return ApiError(404, "there is no such address")
