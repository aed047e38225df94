"""Memory that is held on to."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# In a process of its own, for whose rest it is. 40 MB at a time, as a step of training takes and frees them.
PROGRAM = """
import resource, torch
from auricle.audiolm.training.memory import hold_memory

def faults():
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    for _ in range(20):
        one, other = torch.ones(10_000_000), torch.ones(10_000_000)
        del one, other
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

faults()
first = faults()
assert hold_memory()
faults()
print(first, faults())
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="for glibc's allocator")
def test_what_is_freed_is_taken_again_without_the_system() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=True)
    given_back, held = map(int, done.stdout.split())
    assert given_back > 10_000
    assert held < given_back / 50


def test_another_c_library_is_left_alone(monkeypatch: pytest.MonkeyPatch) -> None:
    from auricle.audiolm.training import memory

    monkeypatch.setattr(platform, "libc_ver", lambda: ("", ""))
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: pytest.fail("asked for the C library"))
    assert not memory.hold_memory()
