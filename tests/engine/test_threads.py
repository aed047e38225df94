"""Which passes use one thread, and that all are given back."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from auricle.api import load
from auricle.engine.threads import SHARED, threads_for
from tests.engine.scripted import noise

CPU = torch.device("cpu")


@pytest.fixture(autouse=True)
def two_threads() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(2)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("device", "parameters", "threads"),
    [(CPU, 8_000_000, 1), (CPU, SHARED, 2), (torch.device("cuda"), 8_000_000, 2)],
)
def test_small_models_use_one(device: torch.device, parameters: int, threads: int) -> None:
    with threads_for(device, parameters):
        assert torch.get_num_threads() == threads
    assert torch.get_num_threads() == 2


def test_they_are_given_back_after_an_error() -> None:
    with pytest.raises(KeyboardInterrupt), threads_for(CPU, 1):
        raise KeyboardInterrupt
    assert torch.get_num_threads() == 2


def test_other_threads_of_the_program_keep_theirs() -> None:
    entered, leave, seen = threading.Event(), threading.Event(), []

    def other() -> None:
        torch.set_num_threads(2)
        assert torch.get_num_threads() == 2  # from now on its own: a thread that is new to torch takes the last one set
        entered.set()
        leave.wait(10)
        seen.append(torch.get_num_threads())

    thread = threading.Thread(target=other)
    thread.start()
    assert entered.wait(10)
    with threads_for(CPU, 1):
        leave.set()
        thread.join()
    assert seen == [2]
    assert torch.get_num_threads() == 2


def test_a_small_model_hears_and_reads_on_one_thread(e2b: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(str(e2b))
    family: Any = model.backend.family  # type: ignore[attr-defined]
    seen: dict[str, set[int]] = {}
    for name in ("read", "hear_layers"):
        compute = getattr(family, name)

        def noted(*arguments: Any, name: str = name, compute: Any = compute) -> Any:
            seen.setdefault(name, set()).add(torch.get_num_threads())
            return compute(*arguments)

        monkeypatch.setattr(family, name, noted)
    list(model.score_many([(noise(4_000, seed), "What?") for seed in range(2)], ["yes", "no"]))
    assert seen == {"read": {1}, "hear_layers": {1}}
    assert torch.get_num_threads() == 2


def test_who_chooses_threads_has_them(e2b: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    model = load(str(e2b), threads=2)
    family: Any = model.backend.family  # type: ignore[attr-defined]
    read, seen = family.read, set()

    def noted(*arguments: Any) -> Any:
        seen.add(torch.get_num_threads())
        return read(*arguments)

    monkeypatch.setattr(family, "read", noted)
    model.ask(noise(4_000, 1), "What?", max_tokens=2)
    assert seen == {2}
