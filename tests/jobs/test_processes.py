"""Work in processes: order, errors, processes that are killed, and nothing left behind."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from auricle.errors import AuricleError, OptionError, SoundError
from auricle.jobs.processes import cores, in_processes


def squarer(power: int) -> Callable[[int], tuple[int, int]]:
    def work(item: int) -> tuple[int, int]:
        time.sleep(0.02 * (item % 3))  # so that they don't come in order by themselves
        return item**power, os.getpid()

    return work


def failing(at: int) -> Callable[[int], int]:
    def work(item: int) -> int:
        if item == at:
            raise SoundError(f"no {item}")
        if item == at + 1:
            os.kill(os.getpid(), signal.SIGKILL)
        return 1 // (item - at - 2)

    return work


def refusing() -> Callable[[int], int]:
    raise SoundError("not today")


def test_results_come_in_order_from_several_processes() -> None:
    found = list(in_processes(squarer, (2,), range(20), 2))
    assert [value for value, _ in found] == [item**2 for item in range(20)]
    assert len({pid for _, pid in found} | {os.getpid()}) == 3
    assert not multiprocessing.active_children()


def test_no_items_no_processes() -> None:
    assert list(in_processes(squarer, (2,), [], 2)) == []
    with pytest.raises(OptionError, match="workers is 0; it must be at least 1"):
        list(in_processes(squarer, (2,), [1], 0))
    assert cores() >= 1


@pytest.mark.parametrize(
    ("items", "error", "words"),
    [
        ([5, 9], SoundError, "no 5"),
        ([6, 9], AuricleError, r"ended from outside \(status -9\).*fewer workers"),
        ([7, 9], RuntimeError, "ZeroDivisionError"),
    ],
)
def test_what_a_process_meets_comes_up(items: list[int], error: type[Exception], words: str) -> None:
    with pytest.raises(error, match=words):
        list(in_processes(failing, (5,), items, 1))
    assert not multiprocessing.active_children()


def test_what_making_a_worker_meets_comes_up() -> None:
    with pytest.raises(SoundError, match="not today"):
        list(in_processes(refusing, (), [1, 2], 1))


def test_who_stops_early_leaves_nothing_running() -> None:
    parts = in_processes(squarer, (1,), range(1000), 2)
    next(parts)
    assert len(multiprocessing.active_children()) == 2
    parts.close()
    assert not multiprocessing.active_children()


PROGRAM = """
import sys
from auricle.jobs.processes import in_processes
from tests.jobs.test_processes import squarer
if __name__ == "__main__":
    for value, pid in in_processes(squarer, (1,), range(10**6), 1):
        print(pid, flush=True)
"""


def test_workers_of_a_killed_process_end() -> None:
    with subprocess.Popen([sys.executable, "-c", PROGRAM], stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        worker = int(parent.stdout.readline())
        parent.kill()
    deadline = time.monotonic() + 10
    while time.monotonic() < deadline and _alive(worker):
        time.sleep(0.05)
    assert not _alive(worker)


def _alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    stat = Path(f"/proc/{pid}/stat")  # where there is none, nobody waits with taking a zombie away
    return not stat.exists() or stat.read_text().rpartition(")")[2].split()[0] != "Z"
