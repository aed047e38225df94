"""What `auricle serve` can be told: each field is a flag of the command, with the same name and default."""

from __future__ import annotations

import json
import math
from dataclasses import asdict, dataclass, fields
from typing import Any, Literal

from auricle.errors import OptionError


@dataclass(frozen=True)
class Settings:
    """Model, limits and manners of one server. Limits are for each worker process."""

    model: str = "tiny"
    device: str = "auto"
    dtype: str = "auto"
    threads: int | None = None
    cache_mb: float = 256.0
    base_url: str | None = None  # of a model named openai:NAME

    api_keys: tuple[str, ...] = ()  # any of them is needed to be answered; none: everybody is
    cors_origins: tuple[str, ...] = ()  # pages of other origins that may ask; none may unless named
    audio_hosts: tuple[str, ...] = ()  # hosts that audio_url may name; none may unless named
    docs: bool = True  # whether /openapi.json is there

    max_request_mb: float = 32.0  # of a request's body
    max_seconds: float = 1800.0  # of one sound
    max_clips: int = 16  # sounds in one request
    max_turns: int = 64  # messages in one request
    max_tokens: int = 4096  # of an answer; also what is meant where a request doesn't say
    max_answers: int = 8  # `n`
    max_running: int = 8  # requests that are answered at once
    max_queue: int = 64  # that wait beyond these; one more gets 429
    timeout_s: float = 300.0  # until an answer must be done
    body_timeout_s: float = 30.0  # until the next bytes of a body must come
    max_sessions: int = 4  # of /v1/realtime at once
    session_s: float = 1800.0  # how long one may last
    shutdown_s: float = 60.0  # how long answers under way may go on after SIGTERM

    log: Literal["json", "text"] = "json"

    def __post_init__(self) -> None:
        for name in ("max_clips", "max_turns", "max_tokens", "max_answers", "max_running"):
            _require(getattr(self, name) >= 1, name, getattr(self, name), "at least 1")
        for name in ("max_queue", "max_sessions"):
            _require(getattr(self, name) >= 0, name, getattr(self, name), "at least 0")
        for name in ("max_request_mb", "max_seconds", "timeout_s", "body_timeout_s", "session_s", "shutdown_s"):
            _require(0 < getattr(self, name) < math.inf, name, getattr(self, name), "a number above 0")
        for key in self.api_keys:
            if not key or not key.isascii() or not key.isprintable() or " " in key:
                raise OptionError("an API key is empty or has characters other than printable ASCII: choose another")
        for origin in self.cors_origins:
            if origin != "*" and not origin.startswith(("http://", "https://")):
                raise OptionError(f"CORS origin {origin!r} must begin with http:// or https://, or be *")
        for host in self.audio_hosts:
            if not host or "/" in host or ":" in host:
                raise OptionError(f"audio host {host!r} must be a bare host name, such as sounds.example.org")

    @property
    def max_request_bytes(self) -> int:
        return round(self.max_request_mb * 1_000_000)

    def as_json(self) -> str:
        """For a worker process, which reads it with `from_json`."""
        return json.dumps(asdict(self))

    @classmethod
    def from_json(cls, text: str) -> Settings:
        values: dict[str, Any] = json.loads(text)
        lists = {field.name for field in fields(cls) if str(field.type).startswith("tuple")}
        values |= {name: tuple(values[name]) for name in lists}
        return cls(**values)


def _require(fits: bool, name: str, value: object, allowed: str) -> None:
    if not fits:
        raise OptionError(f"{name} is {value}; it must be {allowed}")
