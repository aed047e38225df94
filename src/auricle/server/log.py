"""One line for each request that ended: what it cost, never what was said or heard."""

from __future__ import annotations

import json
import logging
import sys
import time
from typing import Any

logger = logging.getLogger("auricle.server")


class _Lines(logging.Formatter):
    """A record's fields as JSON, or as `name=value` for people."""

    def __init__(self, form: str) -> None:
        super().__init__()
        self._form = form

    def format(self, record: logging.LogRecord) -> str:
        at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(record.created)) + f".{int(record.msecs):03d}Z"
        values: dict[str, Any] = getattr(record, "fields", {})
        trace = self.formatException(record.exc_info) if record.exc_info else None
        if self._form == "json":
            line = {"time": at, "level": record.levelname.lower(), "event": record.getMessage(), **values}
            return json.dumps(line if trace is None else {**line, "traceback": trace})
        shown = " ".join(f"{name}={value}" for name, value in values.items())
        return f"{at} {record.levelname.lower()} {record.getMessage()} {shown}".rstrip() + (
            f"\n{trace}" if trace else ""
        )


def set_up(form: str) -> None:
    """Sends our lines, and the HTTP server's own, to stderr in one form."""
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines(form))
    for name, level in (("auricle.server", logging.INFO), ("uvicorn", logging.WARNING)):
        log = logging.getLogger(name)
        log.handlers, log.propagate = [handler], False
        log.setLevel(level)


def event(name: str, **fields: Any) -> None:
    logger.info(name, extra={"fields": fields})
