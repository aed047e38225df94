"""Several processes behind one port: started, started again when they end, and stopped together.

The parent listens and computes nothing. Each worker (`worker.py`) takes connections from the same sockets. Workers are
process groups of their own, so that Ctrl-C reaches them from the parent alone; they end when it does, however it ends.
"""

from __future__ import annotations

import json
import os
import selectors
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace

from auricle.errors import AuricleError, InputError
from auricle.server import log
from auricle.server.metrics import SHARED, forget
from auricle.server.settings import Settings

SLOWEST_S = 30.0  # between starts of a worker that never comes to be ready
MARGIN_S = 15.0  # how much longer than `shutdown_s` a worker may take to stop before it is killed
SIGNALS = (signal.SIGTERM, signal.SIGINT)


@dataclass
class _Worker:
    process: subprocess.Popen[bytes]
    told: bytes = b""  # of a line that has not come to its end
    ready: bool = False


class Workers:
    """The parent.

    Args:
        sockets: they listen already.
        count: how many workers, 2 or more.
    """

    def __init__(self, settings: Settings, sockets: list[socket.socket], count: int) -> None:
        self._settings = replace(settings, threads=settings.threads or _threads(count))
        self._sockets = sockets
        self._due = [0.0] * count  # when workers that are missing will be started
        self._living: dict[int, _Worker] = {}  # by the descriptor on which they tell things
        self._misses = 0  # starts in a row that came to nothing
        self._served = False  # some worker has been ready
        self._failure: AuricleError | None = None
        self._interrupts = 0
        self._kill_at: float | None = None  # there is such a time once all are to stop
        self._selector = selectors.DefaultSelector()
        self._folder = ""

    def run(self) -> None:
        """Returns when every worker has stopped.

        Raises:
            AuricleError: the model can't be loaded.
            KeyboardInterrupt: a second Ctrl-C has cut what was under way.
        """
        with tempfile.TemporaryDirectory(prefix="auricle-metrics-") as self._folder, self._hearing_signals() as waker:
            try:
                while self._living or self._kill_at is None:
                    self._start_due()
                    for key, _ in self._selector.select(self._patience()):
                        if key.fd == waker.fileno():
                            for number in waker.recv(64):
                                self._obey(number)
                        else:
                            self._listen_to(key.fd)
                    self._kill_late()
            finally:
                for worker in self._living.values():
                    worker.process.kill()
        if self._failure is not None:
            raise self._failure
        if self._interrupts > 1:
            raise KeyboardInterrupt

    # --- workers come and go

    def _start_due(self) -> None:
        now = time.monotonic()
        starting, self._due = [at for at in self._due if at <= now], [at for at in self._due if at > now]
        for _ in starting:
            self._start()

    def _start(self) -> None:
        told, telling = os.pipe()
        handed = [telling, *(listening.fileno() for listening in self._sockets)]
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "auricle.server.worker", *map(str, handed)],
            stdin=subprocess.PIPE,
            pass_fds=handed,
            process_group=0,
            env={**os.environ, SHARED: self._folder},
        )
        os.close(telling)
        self._living[told] = _Worker(process)
        self._selector.register(told, selectors.EVENT_READ)
        assert process.stdin is not None, "it was asked for"
        try:
            process.stdin.write(
                self._settings.as_json().encode() + b"\n"
            )  # not by the environment: there are keys in it
            process.stdin.flush()
        except BrokenPipeError:  # it has ended already, of which `told` will tell
            return

    def _listen_to(self, told: int) -> None:
        worker = self._living[told]
        read = os.read(told, 65536)
        *lines, worker.told = (worker.told + read).split(b"\n")
        for line in lines:
            values = json.loads(line)
            if "ready" in values:
                worker.ready = self._served = True
                self._misses = 0
            elif not self._served:
                kind = InputError if values["status"] == InputError.exit_status else AuricleError
                self._fail(kind(values["failure"]))
            else:
                log.event("not loaded", pid=worker.process.pid, error=values["failure"])
        if not read:
            self._bury(told)

    def _bury(self, told: int) -> None:
        """Of a worker that has ended: counts what it counted, and sees to the next."""
        self._selector.unregister(told)
        os.close(told)
        worker = self._living.pop(told)
        assert worker.process.stdin is not None, "it was asked for"
        worker.process.stdin.close()
        status = worker.process.wait()
        forget(worker.process.pid, self._folder)
        if self._kill_at is not None:
            return
        log.event("worker ended", pid=worker.process.pid, status=status)
        if not self._served:
            how = f"was killed by signal {-status}" if status < 0 else f"ended with status {status}"
            self._fail(AuricleError(f"a worker {how} before it was ready: start with fewer --workers, or see the log"))
            return
        self._misses += not worker.ready
        self._due.append(time.monotonic() + (min(SLOWEST_S, 2.0**self._misses) if self._misses else 0.0))

    # --- stopping

    def _fail(self, failure: AuricleError) -> None:
        self._failure = self._failure or failure
        self._stop()

    def _stop(self) -> None:
        """Has every worker finish what runs; the port closes here first, so that it does once the last lets go."""
        if self._kill_at is None:
            self._kill_at = time.monotonic() + self._settings.shutdown_s + MARGIN_S
            self._due = []
            for listening in self._sockets:
                listening.close()
            self._signal(signal.SIGTERM)

    def _signal(self, number: signal.Signals) -> None:
        for worker in self._living.values():
            worker.process.send_signal(number)

    def _obey(self, number: int) -> None:
        self._stop()
        self._interrupts += number == signal.SIGINT
        if self._interrupts > 1:
            self._kill_at = time.monotonic() + MARGIN_S
            self._signal(signal.SIGINT)

    def _kill_late(self) -> None:
        if self._kill_at is not None and time.monotonic() > self._kill_at:
            log.event("killed", workers=len(self._living))
            self._signal(signal.SIGKILL)
            self._kill_at = time.monotonic() + MARGIN_S

    def _patience(self) -> float | None:
        """How long nothing has to be done, in seconds; None: till something is heard."""
        times = [*self._due, *([self._kill_at] if self._kill_at is not None else [])]
        return max(0.0, min(times) - time.monotonic()) if times else None

    @contextmanager
    def _hearing_signals(self) -> Iterator[socket.socket]:
        """Signals end nothing by themselves; their numbers come out of the socket that this gives."""
        waker, waking = socket.socketpair()
        waking.setblocking(False)
        self._selector.register(waker, selectors.EVENT_READ)
        before = {number: signal.signal(number, lambda *_: None) for number in SIGNALS}
        descriptor = signal.set_wakeup_fd(waking.fileno())
        try:
            yield waker
        finally:
            signal.set_wakeup_fd(descriptor)
            for number, handler in before.items():
                signal.signal(number, handler)
            waker.close()
            waking.close()
            self._selector.close()


def _threads(count: int) -> int | None:
    """The processors divided among the workers; None, torch's own choice, where that was set by the environment."""
    if "OMP_NUM_THREADS" in os.environ:
        return None
    have = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    return max(1, have // count)
