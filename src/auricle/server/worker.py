"""One of several processes behind one port; `workers.py` starts `python -m auricle.server.worker REPORT SOCKET...`.

Its settings come as a line on stdin, which stays open for as long as the parent lives: when it ends, so does the
worker, also where the parent was killed. What it has to tell the parent is a line of JSON on the descriptor REPORT.
"""

from __future__ import annotations

import json
import os
import signal
import socket
import sys
import threading
from contextlib import suppress
from typing import Any

from auricle.errors import AuricleError
from auricle.server import log
from auricle.server.process import Process
from auricle.server.run import INTERRUPTED, STOPPED, leave
from auricle.server.settings import Settings


def main(report: int, sockets: list[socket.socket]) -> int:
    """Serves until the parent says otherwise; gives the exit status."""
    os.set_inheritable(report, False)
    settings = Settings.from_json(sys.stdin.readline())
    log.set_up(settings.log)
    threading.Thread(target=_end_with_parent, name="parent", daemon=True).start()

    def tell(**values: Any) -> None:
        with suppress(BrokenPipeError):  # the parent has gone, of which `_end_with_parent` takes care
            os.write(report, json.dumps(values).encode() + b"\n")

    process = Process(settings, sockets, shared=True, ready=lambda: tell(ready=True))
    try:
        process.serve_until_stopped()
    except AuricleError as error:
        tell(failure=str(error), status=error.exit_status)
        return error.exit_status
    except Exception as error:
        log.logger.exception("failure")
        tell(failure=f"this is a fault of ours: {type(error).__name__}: {error}", status=AuricleError.exit_status)
        return AuricleError.exit_status
    status = INTERRUPTED if process.force_exit else STOPPED
    if process.computing:
        leave(status)
    return status


def _end_with_parent() -> None:
    while os.read(sys.stdin.fileno(), 1):
        pass
    os.kill(os.getpid(), signal.SIGTERM)


if __name__ == "__main__":
    sys.exit(main(int(sys.argv[1]), [socket.socket(fileno=int(number)) for number in sys.argv[2:]]))
