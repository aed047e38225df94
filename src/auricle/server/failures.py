"""What can go wrong, as HTTP status and a body in OpenAI's shape: `{"error": {message, type, param, code}}`."""

from __future__ import annotations

import traceback
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from fastapi.exceptions import HTTPException
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
from auricle.server import log

CLIENT_GONE = 499  # nginx's number for a client that left before its answer; only logs see it
BUSY_RETRY_S = 1
MAX_MESSAGE = 500  # characters; what was given may be quoted, and may be of any length

TYPES = {
    400: ("invalid_request_error", None),
    401: ("authentication_error", "invalid_api_key"),
    403: ("permission_error", "forbidden_origin"),
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
HEADERS = {
    401: {"www-authenticate": "Bearer"},
    426: {"upgrade": "websocket", "connection": "upgrade"},
    429: {"retry-after": str(BUSY_RETRY_S)},
}


class ApiError(HTTPException):
    """Ends a request with a status.

    It is one of the framework's own, because that turns any other error into a 400 while it reads a body.
    """

    def __init__(self, status: int, message: str, *, param: str | None = None, code: str | None = None) -> None:
        super().__init__(status, _one_line(message), HEADERS.get(status))
        self.status, self.message = status, str(self.detail)
        self.param, self.code = param and _one_line(param, 100), code

    def body(self) -> dict[str, Any]:
        kind, code = TYPES.get(self.status, ("invalid_request_error", None))
        return {"error": {"message": self.message, "type": kind, "param": self.param, "code": self.code or code}}

    def response(self) -> JSONResponse:
        return JSONResponse(self.body(), self.status, self.headers)


def _one_line(text: str, longest: int = MAX_MESSAGE) -> str:
    """Without line breaks and what else can't be printed; the middle of a long text is left out."""
    if len(text) > longest:
        text = text[: longest // 2] + " ... " + text[5 - longest // 2 :]
    return text if text.isprintable() else "".join(letter if letter.isprintable() else "?" for letter in text)


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
    return ApiError(500, "this is a fault of ours; the server's log says where")


def log_failure(error: BaseException, **fields: Any) -> None:
    """Where a fault of ours came from: the kind of error and the lines it passed, but never its message.

    A message may quote what it could not deal with, and logs have no text and no sound in them.
    """
    frames = traceback.extract_tb(error.__traceback__)
    lines = [f"{'/'.join(Path(frame.filename).parts[-2:])}:{frame.lineno} {frame.name}" for frame in frames]
    log.logger.error("failure", extra={"fields": {**fields, "error": type(error).__name__, "at": " > ".join(lines)}})


def invalid(errors: Sequence[Mapping[str, Any]]) -> ApiError:
    """What pydantic found wrong with a request: the first of it, with where that is."""
    first, more = errors[0], len(errors) - 1
    where = [str(step) for step in first["loc"] if step not in ("body", "query", "path", "header")]
    param = ".".join(step for step in where if step not in TAGS and not step.startswith("list[")) or None
    said = str(first["msg"]).replace("Value error, ", "")
    if first["loc"] == ("body",):
        said = "the body is no JSON object: send one" if first["type"] != "missing" else "the body is empty: send JSON"
    elif first["type"] == "extra_forbidden":
        said = "there is no such field here: leave it out"
    elif first["type"] in ("model_type", "model_attributes_type", "dict_type"):
        said = "it must be an object"
    elif "Expected UploadFile" in said:
        said = "it must be a file with a name; with curl, that is -F file=@PATH"
    text = f"{param}: {said}" if param else said
    return ApiError(400, text + (f" (and {more} more)" if more else ""), param=param)


TAGS = ("written", "parts", "image", "str", "constrained-str", "InputAudio")
"""How unions of `schemas` call their members, which pydantic puts into the path of a field."""
