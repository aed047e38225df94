"""What goes wrong with a server, as an error of ours in one line, and whether trying again can help."""

from __future__ import annotations

import email.utils
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from auricle.backends.openai.server import Server
from auricle.errors import AuricleError, BusyError, HubError, InputError, OptionError, PromptError

PASSING = frozenset({429, 500, 502, 503, 504})  # statuses that may be gone at the next attempt
MAX_WAIT_S = 60.0  # before an attempt, whatever a server wishes
_TOO_LONG = ("context_length_exceeded", "exceed_context_size_error", "maximum context length")  # three servers' words


@dataclass(frozen=True)
class Failure:
    """Why an attempt failed."""

    error: AuricleError
    passing: bool = False  # another attempt may succeed
    wait_s: float | None = None  # that the server wants us to wait before


def is_of_transport(error: Exception) -> bool:
    """Whether an error is of the HTTP library, under either of the names that the client has had it."""
    return any(kind.__name__ == "TransportError" for kind in type(error).__mro__)


def of_connection(server: Server, error: Exception) -> Failure:
    """No connection, or one that broke before the first text."""
    cause = error.__cause__ or error
    if type(cause).__name__ == "ConnectTimeout":
        reason = f"no connection within {server.connect_s:g} s"
    else:
        reason = shortened(str(cause)) or type(cause).__name__
    return Failure(
        AuricleError(f"{server.url} can't be reached ({reason}): check that the server runs there, and --base-url"),
        passing=True,
    )


def of_status(server: Server, error: Any) -> Failure:
    """A status that is no success; `error` is an `openai.APIStatusError`."""
    status, says = error.status_code, message_of(error.body)
    told = f": {says}" if says else ""
    if status == 429:
        busy = BusyError(f"{server.url} has too many requests (429){told}; try later, or send fewer at once")
        return Failure(busy, passing=True, wait_s=_wait(error.response.headers.get("retry-after")))
    if status in PASSING:
        failed = AuricleError(f"{server.url} failed ({status}){told}")
        return Failure(failed, passing=True, wait_s=_wait(error.response.headers.get("retry-after")))
    if status in (401, 403):
        return Failure(InputError(f"{server.url} refuses the key ({status}){told}; set OPENAI_API_KEY to one it knows"))
    if status == 404:
        return Failure(_not_found(server, told))
    if 300 <= status < 400:
        there = error.response.headers.get("location", "elsewhere")
        return Failure(
            OptionError(f"{server.url} sends on to {there} ({status}), which is not followed: name that URL")
        )
    if status >= 500:
        return Failure(AuricleError(f"{server.url} failed ({status}){told}"))
    kind = PromptError if _is_too_long(error, says) else InputError
    return Failure(kind(f"{server.url} refuses the request ({status}){told}"))


def of_event(server: Server, error: Any) -> Failure:
    """An error that a server sends within a stream; `error` is an `openai.APIError`."""
    says = message_of(error.body) or shortened(error.message)
    code = str(error.code)  # older clients leave a number as it is
    status = int(code) if code.isdecimal() else None
    if status is not None and 400 <= status < 500 and status != 429:
        kind = PromptError if _is_too_long(error, says) else InputError
        return Failure(kind(f"{server.url} refuses the request ({status}): {says}"))
    number = f" ({status})" if status is not None else ""
    return Failure(AuricleError(f"{server.url} failed{number}: {says}"), passing=status in PASSING)


def malformed(server: Server, what: str) -> AuricleError:
    return AuricleError(f"{server.url} sent what is no OpenAI chat stream ({what}): check --base-url and the server")


def message_of(body: object) -> str:
    """What a server says went wrong, in one line: of OpenAI's shape, of FastAPI's `detail`, or as text."""
    if isinstance(body, Mapping):
        detail = next((body[key] for key in ("message", "detail", "error") if body.get(key)), None)
        if isinstance(detail, list):  # of FastAPI's validation: where, and what
            return shortened("; ".join(map(_item, detail)))
        return message_of(detail) if detail is not None else ""
    return shortened(str(body)) if body is not None else ""


def shortened(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 300 else text[:297] + "..."


def _item(item: object) -> str:
    if not isinstance(item, Mapping):
        return str(item)
    where = item.get("loc")
    return (".".join(map(str, where)) + ": " if isinstance(where, list) else "") + str(item.get("msg", ""))


def _is_too_long(error: Any, says: str) -> bool:
    return any(words in f"{error.code} {error.type} {says}" for words in _TOO_LONG)


def _not_found(server: Server, told: str) -> AuricleError:
    """The model is not there, or nothing that answers is: the server's list of models tells which."""
    names = server.models()
    if names is None:
        return OptionError(f"{server.url} has no chat completions (404){told}; a base URL usually ends in /v1")
    if server.model in names:
        return OptionError(f"{server.url} has {server.model!r} but no chat completions (404){told}; check --base-url")
    some = ", ".join(names[:10]) + (", ..." if len(names) > 10 else "")
    return HubError(f"{server.url} has no model {server.model!r}: it has {some or 'none'}")


def _wait(header: str | None) -> float | None:
    """Retry-After, seconds or a date, as seconds from now that are not too many."""
    if header is None:
        return None
    try:
        seconds = float(header)
    except ValueError:
        try:
            seconds = email.utils.parsedate_to_datetime(header).timestamp() - time.time()
        except ValueError:
            return None
    return min(max(seconds, 0.0), MAX_WAIT_S) if seconds == seconds else None
