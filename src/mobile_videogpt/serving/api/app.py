"""The application: routes, errors in OpenAI's form, documentation."""

from __future__ import annotations

import asyncio
import json
import logging
import re
from collections.abc import AsyncIterator, MutableMapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, NoReturn

from fastapi import APIRouter, FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.openapi.utils import get_openapi
from fastapi.responses import JSONResponse, Response
from pydantic import ValidationError
from starlette.exceptions import HTTPException

from mobile_videogpt import __version__
from mobile_videogpt.serving.api.completions import Completion, answer_stream, answer_whole
from mobile_videogpt.serving.api.files import file_routes
from mobile_videogpt.serving.api.frames import frame_routes
from mobile_videogpt.serving.api.gate import Gate, Receive, Scope, Send
from mobile_videogpt.serving.api.metrics import CONTENT_TYPE, Metrics
from mobile_videogpt.serving.api.orders import Asked, read_order
from mobile_videogpt.serving.api.schema import ChatRequest
from mobile_videogpt.serving.errors import ApiError, bad_request, clean, internal_error
from mobile_videogpt.serving.jobs import Event, Finished
from mobile_videogpt.serving.media import beside
from mobile_videogpt.serving.page.routes import page_routes
from mobile_videogpt.serving.service import Service

logger = logging.getLogger(__name__)

_REF = "#/components/schemas/{model}"
_LONGEST_TEXT = 200
_COMPLETION_BODY = {
    "requestBody": {
        "required": True,
        "content": {"application/json": {"schema": {"$ref": _REF.format(model="ChatRequest")}}},
    }
}
_ERROR_SCHEMA = {
    "type": "object",
    "properties": {
        "error": {
            "type": "object",
            "properties": {
                "message": {"type": "string"},
                "type": {"type": "string"},
                "param": {"type": ["string", "null"]},
                "code": {"type": ["string", "null"]},
            },
            "required": ["message", "type", "param", "code"],
        }
    },
    "required": ["error"],
}
_ERRORS: dict[int | str, dict[str, Any]] = {
    status: {
        "description": description,
        "content": {"application/json": {"schema": {"$ref": _REF.format(model="Error")}}},
    }
    for status, description in {
        "4XX": "The request is refused; the message says why",
        "5XX": "The server cannot answer it now",
    }.items()
}


def create_app(service: Service) -> FastAPI:
    """The application that serves one model; starts and ends the service with itself."""

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        service.start()
        yield
        await service.close()

    app = FastAPI(
        title="Mobile-VideoGPT",
        summary="Questions about videos, in the form of OpenAI's chat completions",
        version=__version__,
        lifespan=lifespan,
        responses=_ERRORS,
        docs_url=None,  # the framework's own pages load scripts from elsewhere
        redoc_url=None,
    )
    metrics = Metrics(service)
    app.include_router(_general_routes(service, metrics))
    app.include_router(_completion_routes(service, metrics))
    app.include_router(file_routes(service))
    app.include_router(frame_routes(service))
    app.include_router(page_routes())
    _add_error_handlers(app)
    app.openapi = lambda: _documentation(app)  # type: ignore[method-assign]
    app.add_middleware(_Counted, metrics=metrics)
    app.add_middleware(Gate, service=service, refuse=_refuse)
    return app


def _general_routes(service: Service, metrics: Metrics) -> APIRouter:
    router = APIRouter()

    @router.get("/healthz", tags=["operation"])
    async def health() -> Response:
        """Whether requests make sense now."""
        scheduler = service.scheduler
        state = "ok" if service.is_well else "stopping"
        figures = {"waiting": scheduler.num_waiting, "running": scheduler.num_running}
        document = {"status": state, "model": service.name, **figures}
        return JSONResponse(document, 200 if service.is_well else 503)

    @router.get("/metrics", tags=["operation"], response_class=Response)
    async def show_metrics() -> Response:
        """Figures for Prometheus."""
        return Response(metrics.text(), media_type=CONTENT_TYPE)

    model = {
        "id": service.name,
        "object": "model",
        "created": service.created,
        "owned_by": "mobile-videogpt",
        "mobile_videogpt": service.runs_as,
    }

    @router.get("/v1/models", tags=["models"])
    async def list_models() -> dict[str, Any]:
        """The one model."""
        return {"object": "list", "data": [model]}

    @router.get("/v1/models/{model_id:path}", tags=["models"])
    async def show_model(model_id: str) -> dict[str, Any]:
        """The one model, by its name."""
        _check_model(model_id, service)
        return model

    return router


def _completion_routes(service: Service, metrics: Metrics) -> APIRouter:
    router = APIRouter()

    @router.post("/v1/chat/completions", tags=["completions"], openapi_extra=_COMPLETION_BODY)
    async def create_completion(request: Request) -> Response:
        """Answer the last message."""
        body = await _read_body(request)
        asked = await _read_order(body, service)
        completion = Completion(service, len(asked.order.answers))
        deadline: float = request.state.deadline
        events = _measured(
            service.run(asked.order, asked.media, request.state.owner, deadline), metrics
        )
        if body.stream:
            include_usage = bool(body.stream_options and body.stream_options.include_usage)
            return await answer_stream(request, completion, events, include_usage)
        return await answer_whole(request, completion, events)

    return router


async def _read_body(request: Request) -> ChatRequest:
    """The request, checked.

    Raises:
        ApiError: it is not JSON, or not of the form.
    """
    # A page elsewhere can send other types without being asked whether it may.
    if request.headers.get("content-type", "").split(";")[0].strip().lower() != "application/json":
        raise ApiError(415, "send the request as application/json", "unsupported_media_type")
    raw = await request.body()
    return await beside(len(raw), _parse, raw)


def _parse(raw: bytes) -> ChatRequest:
    try:
        document = _parse_json(raw)
    except (ValueError, RecursionError):
        raise bad_request("the request is not valid JSON: check how it is written") from None
    try:
        return ChatRequest.model_validate(document)
    except ValidationError as error:
        raise _explained(error.errors(include_url=False, include_input=False)) from None
    except RecursionError:
        raise bad_request("the request is nested too deeply") from None


def _parse_json(raw: bytes) -> Any:
    def refuse(name: str) -> NoReturn:
        raise ValueError(f"{name} is no JSON")

    return json.loads(raw.decode("utf-8"), parse_constant=refuse)


async def _read_order(body: ChatRequest, service: Service) -> Asked:
    if body.model is not None:
        _check_model(body.model, service)
    if body.response_format is None:
        return read_order(body, service)
    return await asyncio.to_thread(read_order, body, service)  # a grammar takes its time


def _check_model(name: str, service: Service) -> None:
    if name != service.name:
        raise ApiError(
            404,
            f"the model {name[:_LONGEST_TEXT]!r} is not here: this server has {service.name!r}",
            "model_not_found",
            "model",
        )


async def _measured(events: AsyncIterator[Event], metrics: Metrics) -> AsyncIterator[Event]:
    try:
        async for event in events:
            if isinstance(event, Finished):
                metrics.first_token.observe(event.timings["first_token_s"])
                metrics.duration.observe(event.timings["total_s"])
            yield event
    finally:
        await events.aclose()  # type: ignore[attr-defined]


def _add_error_handlers(app: FastAPI) -> None:
    @app.exception_handler(ApiError)
    async def show_api_error(_: Request, error: ApiError) -> Response:
        return error_response(error)

    @app.exception_handler(RequestValidationError)
    async def show_validation_error(_: Request, error: RequestValidationError) -> Response:
        # Their places begin with where the values stand: query, path.
        found = [{**problem, "loc": problem["loc"][1:]} for problem in error.errors()]
        return error_response(_explained(found))

    @app.exception_handler(HTTPException)
    async def show_http_error(request: Request, error: HTTPException) -> Response:
        sentence = {404: "there is no such address", 405: "this address takes other methods"}
        shown = ApiError(error.status_code, sentence.get(error.status_code, str(error.detail)))
        response = error_response(shown)
        response.headers.update(error.headers or {})
        if error.status_code == 405 and (methods := _allowed_methods(app, request.url.path)):
            response.headers["Allow"] = methods
        return response

    @app.exception_handler(Exception)
    async def show_our_fault(_: Request, error: Exception) -> Response:
        logger.error("a request failed", exc_info=error)
        return error_response(internal_error())


def _allowed_methods(app: FastAPI, path: str) -> str:
    """The methods of all routes for a path; the framework names those of the first one."""
    methods: set[str] = set()
    for template, operations in app.openapi()["paths"].items():
        if re.fullmatch(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(template)), path):
            methods |= {name.upper() for name in operations}
    return ", ".join(sorted(methods))


def error_response(error: ApiError) -> Response:
    """An error as a response."""
    return JSONResponse(error.document(), error.status, headers=error.headers())


async def _refuse(error: ApiError, scope: Scope, receive: Receive, send: Send) -> None:
    await error_response(error)(scope, receive, send)


def _explained(problems: Any) -> ApiError:
    """One of pydantic's findings, in a sentence: of alternatives the one that was got furthest."""
    problem = max(problems, key=lambda found: len(found["loc"]))
    place = clean(_place(problem["loc"]))[:_LONGEST_TEXT]
    reason = clean(str(problem["msg"]))[:_LONGEST_TEXT]
    return bad_request(f"{place or 'the request'}: {reason}", place or None)


def _place(path: Sequence[str | int]) -> str:
    """Where in the request, without pydantic's names of alternatives.

    >>> _place(["messages", 0, "content", "list[...]", 1, "video_url", "video_url", "url"])
    'messages[0].content[1].video_url.url'
    """
    place = ""
    was_part = False  # behind the number of a content part stands its type
    for part in path:
        if isinstance(part, int):
            place += f"[{part}]"
            was_part = place.endswith(f"content[{part}]")
        elif was_part or "[" in part or part == "str":
            was_part = False
        else:
            place += f".{part}" if place else part
    return place


class _Counted:
    """Counts responses by path and status."""

    def __init__(self, app: Any, metrics: Metrics) -> None:
        self._app = app
        self._metrics = metrics

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                # The route's pattern, not what the client wrote: names must be few.
                path = getattr(scope.get("route"), "path", "other")
                self._metrics.requests.labels(path, str(message["status"])).inc()
            await send(message)

        await self._app(scope, receive, counting if scope["type"] == "http" else send)


def _documentation(app: FastAPI) -> dict[str, Any]:
    """OpenAPI's document, with the forms that the routes read themselves."""
    if app.openapi_schema is None:
        document = get_openapi(
            title=app.title, version=app.version, summary=app.summary, routes=app.routes
        )
        schema = ChatRequest.model_json_schema(ref_template=_REF)
        forms = {**schema.pop("$defs", {}), "ChatRequest": schema, "Error": _ERROR_SCHEMA}
        document.setdefault("components", {}).setdefault("schemas", {}).update(forms)
        app.openapi_schema = document
    return app.openapi_schema
