"""`/v1/files`: videos that are sent once and named by id, as OpenAI's clients upload them."""

from __future__ import annotations

import asyncio
from typing import Any

from fastapi import APIRouter, Request
from starlette.datastructures import UploadFile
from starlette.formparsers import MultiPartException

from mobile_videogpt.serving.errors import ApiError, bad_request
from mobile_videogpt.serving.service import Service

_UPLOAD_BODY = {
    "requestBody": {
        "required": True,
        "content": {
            "multipart/form-data": {
                "schema": {
                    "type": "object",
                    "properties": {
                        # No types: all that a form holds is bytes.
                        "file": {"contentMediaType": "application/octet-stream"},
                        "purpose": {},
                    },
                    "required": ["file"],
                }
            }
        },
    }
}


def file_routes(service: Service) -> APIRouter:
    """The routes for one service's uploads."""
    router = APIRouter(prefix="/v1/files", tags=["files"])

    @router.post("", openapi_extra=_UPLOAD_BODY)
    async def upload_file(request: Request) -> dict[str, Any]:
        """Send a video ahead, to name by its id."""
        if not request.headers.get("content-type", "").startswith("multipart/form-data"):
            raise ApiError(415, "send the file as multipart/form-data", "unsupported_media_type")
        try:
            async with request.form(max_files=1, max_fields=8) as form:
                file = form.get("file")
                if not isinstance(file, UploadFile):
                    raise bad_request("there is no file in the form: send one as `file`", "file")
                size, owner = file.size or 0, request.state.owner
                kept = await asyncio.to_thread(
                    service.uploads.add, file.file, file.filename or "", size, owner
                )
        except MultiPartException as error:
            raise bad_request(f"the form cannot be read: {error.message}", "file") from None
        return kept.document()

    @router.get("")
    async def list_files(request: Request) -> dict[str, Any]:
        """Your own uploads."""
        kept = [upload.document() for upload in service.uploads.of(request.state.owner)]
        return {"object": "list", "data": kept, "has_more": False}

    @router.get("/{file_id}")
    async def show_file(file_id: str, request: Request) -> dict[str, Any]:
        """One of your uploads."""
        return service.uploads.find(file_id, request.state.owner).document()

    @router.delete("/{file_id}")
    async def delete_file(file_id: str, request: Request) -> dict[str, Any]:
        """Forget one of your uploads."""
        service.uploads.delete(file_id, request.state.owner)
        return {"id": file_id, "object": "file", "deleted": True}

    return router
