"""`/v1/files/ID/frames`: what the model sees of an upload, before any question."""

from __future__ import annotations

import asyncio
import base64
import io
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from PIL import Image

from mobile_videogpt.serving.api.completions import until_gone
from mobile_videogpt.serving.api.orders import video_sampling
from mobile_videogpt.serving.api.schema import FrameCount, Rate, Seconds
from mobile_videogpt.serving.look import Look, look
from mobile_videogpt.serving.media import MediaRequest
from mobile_videogpt.serving.service import Service

_QUALITY = 80


def frame_routes(service: Service) -> APIRouter:
    """The routes for one service's uploads."""
    router = APIRouter(prefix="/v1/files", tags=["files"])

    @router.get("/{file_id}/frames")
    async def show_frames(
        file_id: str,
        request: Request,
        fps: Rate | None = None,
        num_frames: FrameCount | None = None,
        start: Seconds | None = None,
        end: Seconds | None = None,
    ) -> Response:
        """The sampled frames as small pictures, how much attention each draws, which are kept.

        The model has read the video then: the first question costs as little as the next one.
        """
        values = {"fps": fps, "num_frames": num_frames, "start": start, "end": end}
        sampling = video_sampling(values, service.frames_per_video)
        service.uploads.find(file_id, request.state.owner)
        media = MediaRequest("video", (file_id,), sampling, "file_id")
        seen = await until_gone(
            request, look(service, media, request.state.owner, request.state.deadline)
        )
        document = await asyncio.to_thread(_document, seen)
        return JSONResponse(document, headers={"Cache-Control": "no-store"})

    return router


def _document(seen: Look) -> dict[str, Any]:
    return {
        "object": "video.frames",
        **seen.video,
        "prompt_tokens": seen.prompt_tokens,
        "timings": seen.timings,
        "frames": [_picture(frame) for frame in seen.frames],
    }


def _picture(frame: np.ndarray) -> str:
    """A frame as a data URL."""
    buffer = io.BytesIO()
    Image.fromarray(frame).save(buffer, "JPEG", quality=_QUALITY)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
