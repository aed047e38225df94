"""What a request's body is before its fields are looked at: JSON as it should be, or a form; anything else ends here.

Python's json is generous: it takes NaN, reads `1e400` as infinity, keeps the last of two equal keys and half a
surrogate pair, and follows brackets until the stack is full. A sound under a key that is given twice would be dropped
in silence, and a few megabytes of brackets become gigabytes of lists.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Coroutine
from typing import Any, NoReturn

from fastapi import Request
from fastapi.params import Form
from fastapi.responses import Response
from fastapi.routing import APIRoute

from auricle.server.failures import ApiError

MAX_MARKS = 1_000_000  # of [ { and , in a body, those in texts included: bounds what parsing it takes
MAX_VALUES = 20_000  # numbers, texts, lists and objects
MAX_DEPTH = 128  # of lists and objects in each other
MAX_DIGITS = 30  # of a whole number; the largest that means anything has 19


class Route(APIRoute):
    """A route whose body is checked before it is read: what it is called, how it is packed, and JSON by `read_json`."""

    def get_route_handler(self) -> Callable[[Request], Coroutine[Any, Any, Response]]:
        handler = super().get_route_handler()
        is_form = self.body_field is not None and isinstance(self.body_field.field_info, Form)

        async def checked(request: Request) -> Response:
            _check_headers(request, is_form)
            return await handler(_Read(request.scope, request.receive))

        return checked


class _Read(Request):
    """A request that reads its JSON strictly."""

    async def json(self) -> Any:
        return read_json(await self.body())


def _check_headers(request: Request, is_form: bool) -> None:
    packed = request.headers.get("content-encoding", "identity")
    if packed.lower() != "identity":
        raise ApiError(415, f"content-encoding is {packed}: send the body as it is", code="unsupported_content")
    given = request.headers.get("content-type", "")
    kind = given.partition(";")[0].strip().lower()
    wanted = "multipart/form-data" if is_form else "application/json"
    if kind != wanted and (is_form or not (kind.startswith("application/") and kind.endswith("+json"))):
        raise ApiError(415, f"content-type is {given!r}: send {wanted}", code="unsupported_content")


def read_json(body: bytes) -> Any:
    """A body's JSON, whose texts can be written, whose numbers are finite and whose keys stand there once.

    Raises:
        ApiError: 400 when it is anything else, 413 when it has too many parts.
    """
    if sum(body.count(mark) for mark in (b",", b"[", b"{")) > MAX_MARKS:
        raise ApiError(413, f"the body has more than {MAX_MARKS:,} commas and brackets: send less")
    try:
        value = json.loads(
            body.decode(),
            parse_int=_whole,
            parse_float=_finite,
            parse_constant=_no_number,
            object_pairs_hook=_once,
        )
    except UnicodeDecodeError as error:
        raise ApiError(400, f"the body is no UTF-8 at byte {error.start:,}: write the JSON in UTF-8") from error
    except json.JSONDecodeError as error:
        raise ApiError(400, f"the body is no JSON ({error.msg}, at character {error.pos:,}): send an object") from error
    except RecursionError as error:
        raise _too_deep() from error
    _check_values(value)
    return value


def _check_values(value: Any) -> None:
    level, count = [value], 0
    for _ in range(MAX_DEPTH + 1):
        count += len(level)
        if count > MAX_VALUES:
            raise ApiError(413, f"the body has more than {MAX_VALUES:,} values: send less")
        for text in level:
            if isinstance(text, str):
                _check_text(text)
        level = [child for one in level for child in _children(one)]
        if not level:
            return
    raise _too_deep()


def _children(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return list(value.values())
    return value if isinstance(value, list) else []


def _check_text(text: str) -> None:
    try:
        text.isascii() or text.encode()
    except UnicodeEncodeError as error:
        raise ApiError(400, "the body has half a surrogate pair in a text: write whole characters") from error


def _once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    value = dict(pairs)
    for key in value:
        _check_text(key)
    if len(value) < len(pairs):
        seen: set[str] = set()
        twice = next(key for key, _ in pairs if key in seen or seen.add(key))  # type: ignore[func-returns-value]
        raise ApiError(400, f"the body has {twice[:40]!r} twice in one object: give each key once", param=twice[:40])
    return value


def _whole(digits: str) -> int:
    if len(digits) > MAX_DIGITS:
        raise ApiError(400, f"the body has a number of {len(digits):,} digits: give at most {MAX_DIGITS}")
    return int(digits)


def _finite(digits: str) -> float:
    value = float(digits)
    if not math.isfinite(value):
        raise ApiError(400, f"the body has a number that is too large ({digits[:20]}): give a smaller one")
    return value


def _no_number(name: str) -> NoReturn:
    raise ApiError(400, f"the body has {name}, which JSON has no number for: give one")


def _too_deep() -> ApiError:
    return ApiError(400, f"the body has lists or objects in each other more than {MAX_DEPTH} deep: make it flatter")
