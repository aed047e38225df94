"""The same command in several processes of this machine, which find each other as those of a launcher do.

`accelerate launch` and `torchrun` do this on many machines; here an error stays one line, and Ctrl-C is passed on once.
"""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from types import FrameType
from typing import IO

from auricle.errors import OptionError
from auricle.jobs.processes import cores
from auricle.types.checks import require

LAUNCHED = "WORLD_SIZE"  # set for processes that somebody has started already
PARENT = "AURICLE_LAUNCHER"  # the process that waits for the others: they stop when it is gone
MOST = 256  # processes of one machine
GRACE_S = 10.0  # that the others have to end by themselves once one has failed


def is_launched() -> bool:
    """Whether this is one of several processes, by whoever they were started."""
    return LAUNCHED in os.environ


def is_ours() -> bool:
    """Whether `launch` started it."""
    return PARENT in os.environ


def launch(processes: int, arguments: Sequence[str], *, device: str, threads: int | None) -> int:
    """Runs `python -m auricle ARGUMENTS` so many times together.

    Args:
        device: auto, cpu or cuda; where it is CUDA each process has a device of its own.
        threads: of each process; None: all cores shared out.

    Returns:
        The status that the run ended with: of the first process that failed, or 0.

    Raises:
        OptionError: there aren't as many devices.
    """
    require(1 <= processes <= MOST, "processes", processes, f"at least 1 and at most {MOST}")
    _check_devices(processes, device)
    env = {
        **os.environ,
        LAUNCHED: str(processes),
        "LOCAL_WORLD_SIZE": str(processes),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(_free_port()),
        "OMP_NUM_THREADS": str(threads or max(1, cores() // processes)),
        PARENT: str(os.getpid()),
    }
    with ExitStack() as stack:
        said = [stack.enter_context(tempfile.TemporaryFile()) for _ in range(processes)]
        crew = [_started(rank, env, arguments, said[rank]) for rank in range(processes)]
        try:
            first = _waited(crew)
        finally:
            for process in crew:
                process.kill()
                process.wait()
        if first is None:
            return 0
        if crew[0].returncode > 0:  # the main process has told its own failure already
            first = 0
        if first != 0:
            said[first].seek(0)
            sys.stderr.write(said[first].read().decode(errors="replace"))
        status = crew[first].returncode
        return status if status >= 0 else 128 - status


def _check_devices(processes: int, device: str) -> None:
    import torch

    if device != "cpu" and torch.cuda.is_available() and torch.cuda.device_count() < processes:
        raise OptionError(
            f"processes is {processes}, and there are {torch.cuda.device_count()} CUDA devices: each process needs "
            "one, or use device cpu"
        )


def _started(rank: int, env: dict[str, str], arguments: Sequence[str], said: IO[bytes]) -> subprocess.Popen[bytes]:
    """A process of its own session, so that Ctrl-C reaches it through this one alone."""
    return subprocess.Popen(
        [sys.executable, "-m", "auricle", *arguments],
        env={**env, "RANK": str(rank), "LOCAL_RANK": str(rank)},
        stdin=subprocess.DEVNULL,
        stdout=None if rank == 0 else subprocess.DEVNULL,
        stderr=None if rank == 0 else said,
        start_new_session=True,
    )


def _waited(crew: Sequence[subprocess.Popen[bytes]]) -> int | None:
    """Waits for all, and passes signals on; the number of the first that failed, None where none did."""
    failed, until = None, float("inf")
    with _passed_on(crew):
        while any(process.poll() is None for process in crew) and time.monotonic() < until:
            time.sleep(0.05)
            if failed is None:
                failed = next((rank for rank, one in enumerate(crew) if one.poll() not in (None, 0)), None)
                until = float("inf") if failed is None else time.monotonic() + GRACE_S
    return failed if failed is not None else next((n for n, one in enumerate(crew) if one.returncode), None)


@contextmanager
def _passed_on(crew: Sequence[subprocess.Popen[bytes]]) -> Iterator[None]:
    def passed(number: int, frame: FrameType | None) -> None:
        for process in crew:
            process.send_signal(number)

    before = {number: signal.signal(number, passed) for number in (signal.SIGINT, signal.SIGTERM)}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])
