"""What clients are told when something goes wrong, in the form of OpenAI's API."""

from __future__ import annotations

from typing import Any

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "server_error",
    504: "timeout_error",
}


class ApiError(Exception):
    """A request that is refused, in one sentence for its author.

    Args:
        status: of the HTTP response.
        message: what was wrong, what is allowed, what to do.
        code: for programs.
        param: the field that is to blame.
        retry_after_s: when trying again makes sense.
    """

    def __init__(
        self,
        status: int,
        message: str,
        code: str | None = None,
        param: str | None = None,
        retry_after_s: float | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.param = param
        self.retry_after_s = retry_after_s

    def document(self) -> dict[str, Any]:
        """The body of the response."""
        kind = _TYPES.get(self.status)
        if kind is None:
            kind = "server_error" if self.status >= 500 else "invalid_request_error"
        error = {"message": clean(str(self)), "type": kind, "param": self.param, "code": self.code}
        return {"error": error}

    def headers(self) -> dict[str, str]:
        """The headers of the response."""
        headers = {}
        if self.retry_after_s is not None:
            headers["Retry-After"] = str(max(1, round(self.retry_after_s)))
        if self.status == 401:
            headers["WWW-Authenticate"] = "Bearer"
        return headers


def bad_request(message: str, param: str | None = None, code: str | None = None) -> ApiError:
    """A request that is wrong in itself."""
    return ApiError(400, message, code, param)


def internal_error() -> ApiError:
    """Our fault; the reason is in the server's log only."""
    return ApiError(500, "the server failed on this request; its log says why", "internal_error")


def too_late() -> ApiError:
    """For a request that took longer than it may."""
    return ApiError(
        504, "the request took longer than this server allows: ask for less, or later", "timeout"
    )


def shutting_down() -> ApiError:
    """For a request that comes when the server is about to stop."""
    return ApiError(503, "the server is shutting down: try again later", "shutting_down", None, 5.0)


def clean(text: str) -> str:
    """`text` without what no encoding of it can hold: halves of surrogate pairs."""
    return text.encode("utf-8", "replace").decode("utf-8")
