"""An engine in a process of its own, kept alive between requests, so that none holds another's memory or threads.

Dense weights are mapped from one file, whose pages all of them share.
"""

from __future__ import annotations

import multiprocessing
import signal
import traceback
from multiprocessing.connection import Connection
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.bench.engines import ENGINES, Footprint, Loading, Run
from auricle.errors import AuricleError


class Worker:
    """A `Contestant`: an engine of `ENGINES`, loaded and ready.

    Raises:
        AuricleError: the engine failed, or its process ended; also later, from `run` and `close`.
    """

    def __init__(self, engine: str, loading: Loading) -> None:
        context = multiprocessing.get_context("spawn")
        self.engine = engine
        self._pipe, theirs = context.Pipe()
        self._process = context.Process(target=_serve, args=(theirs, engine, loading), daemon=True)
        self._process.start()
        theirs.close()
        self._receive()

    def run(self, samples: NDArray[np.float32], tokens: int) -> Run:
        run: Run = self._asked((samples, tokens))
        return run

    def close(self) -> Footprint:
        footprint: Footprint = self._asked(None)
        self._process.join()
        return footprint

    def stop(self) -> None:
        self._process.terminate()
        self._process.join()

    def _asked(self, request: Any) -> Any:
        try:
            self._pipe.send(request)
        except OSError:  # its process is gone
            raise self._ended() from None
        return self._receive()

    def _receive(self) -> Any:
        try:
            content = self._pipe.recv()
        except (EOFError, OSError):
            raise self._ended() from None
        if isinstance(content, AuricleError):
            raise content
        if isinstance(content, _Failure):
            reason = content.traceback.strip().splitlines()[-1]
            raise AuricleError(f"{self.engine} failed: {reason}") from RuntimeError(content.traceback)
        return content

    def _ended(self) -> AuricleError:
        self._process.join()
        return AuricleError(f"{self.engine} ended with exit code {self._process.exitcode}: out of memory?")


class _Failure:
    """An exception that is not ours: it may not survive the way between processes, so its traceback goes as text."""

    def __init__(self) -> None:
        self.traceback = traceback.format_exc()


def _serve(pipe: Connection, name: str, loading: Loading) -> None:
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C reaches the measuring process, which ends this one
    try:
        engine = ENGINES[name](loading)
        pipe.send(None)
        while (request := pipe.recv()) is not None:
            pipe.send(engine.run(*request))
        pipe.send(engine.footprint())
    except AuricleError as error:
        pipe.send(error)
    except EOFError:  # the measuring process is gone
        return
    except Exception:
        pipe.send(_Failure())
