"""What can go wrong, as HTTP status and a body in OpenAI's shape: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from fastapi.responses import JSONResponse

from auricle.errors import (
    AuricleError,
    BusyError,
    CancelledError,
    DeadlineError,
    InputError,
    OptionError,
    PromptError,
    SoundError,
    TooLongError,
    UnsupportedError,
)

CLIENT_GONE = 499  # nginx's number for a client that left before its answer; only logs see it
BUSY_RETRY_S = 1

TYPES = {
    400: ("invalid_request_error", None),
    401: ("authentication_error", "invalid_api_key"),
    404: ("invalid_request_error", "not_found"),
    405: ("invalid_request_error", "method_not_allowed"),
    408: ("timeout_error", "timeout"),
    413: ("invalid_request_error", "too_large"),
    415: ("invalid_request_error", "unsupported_audio"),
    422: ("invalid_request_error", "unsupported"),
    429: ("rate_limit_error", "queue_full"),
    499: ("client_error", "client_left"),
    500: ("server_error", "internal_error"),
    503: ("server_error", "loading"),
}


class ApiError(Exception):
    """Ends a request with a status."""

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(message)
        self.status, self.message, self.param, self.code = status, message, param, code

    @property
    def headers(self) -> dict[str, str]:
        if self.status == 429:
            return {"retry-after": str(BUSY_RETRY_S)}
        return {"www-authenticate": "Bearer"} if self.status == 401 else {}

    def body(self) -> dict[str, Any]:
        kind, code = TYPES.get(self.status, ("invalid_request_error", None))
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code or code}}

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), self.status, self.headers)


def told(error: BaseException) -> ApiError:
    """Any error as one that the client is told; what is a fault of ours is told without its inside."""
    match error:
        case ApiError():
            return error
        case TooLongError():
            return ApiError(413, str(error))
        case SoundError() | PromptError() | UnsupportedError():
            return ApiError(422, str(error))
        case OptionError():
            return ApiError(400, str(error))
        case BusyError():
            return ApiError(429, "the server is busy and its queue is full: try again in a moment")
        case DeadlineError():
            return ApiError(408, str(error))
        case CancelledError():
            return ApiError(CLIENT_GONE, str(error))
        case InputError():
            return ApiError(422, str(error))
        case AuricleError():
            return ApiError(500, str(error))
    return ApiError(500, "this is a fault of ours; the server's log has its traceback")


def invalid(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """What pydantic found wrong with a request: the first of it, with where that is."""
    first, more = errors[0], len(errors) - 1
    where = [str(step) for step in first["loc"] if step not in ("body", "query", "path", "header")]
    param = ".".join(step for step in where if step not in TAGS and not step.startswith("list[")) or None
    said = str(first["msg"]).replace("Value error, ", "")
    if first["type"] == "json_invalid":
        said = f"the body is no JSON ({first.get('ctx', {}).get('error', 'it breaks off')}): send a JSON object"
        param = None
    elif first["type"] == "extra_forbidden":
        said = "there is no such field here: leave it out"
    text = f"{param}: {said}" if param else said
    return ApiError(400, text + (f" (and {more} more)" if more else ""), param=param)


TAGS = ("written", "parts", "image", "str", "InputAudio")
"""How unions of `schemas` call their members, which pydantic puts into the path of a field."""
