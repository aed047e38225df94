"""A measurement: turns, medians and ratios, on engines whose times are given; then the real ones on a small model."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from auricle.bench import machine, report
from auricle.bench.engines import Footprint, Loading, Run
from auricle.bench.making import make
from auricle.bench.run import MEASURES, Settings, measure, ours, sound, transformers
from auricle.bench.worker import Worker
from auricle.errors import AuricleError, CheckpointError, OptionError

RATE_GB_PER_S = 50.0


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("random")


@pytest.fixture
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that is at rest and reads memory at a known rate."""
    monkeypatch.setattr(machine, "load_average", lambda: 0.1)
    monkeypatch.setattr(machine, "memory_gb_per_s", lambda threads: RATE_GB_PER_S)


@dataclass
class Timed:
    """A contestant whose encoder takes so many seconds, round by round."""

    name: str
    encoder_s: list[float]
    log: list[str]
    mel_s: float | None = 0.1
    prompt_tokens: int = 770
    footprint: Footprint = field(default_factory=lambda: Footprint("1.0", "cpu", "bfloat16", 0.5, 2.0, 1.25, "avx2"))
    asked: int = 0

    def run(self, samples: Any, tokens: int) -> Run:
        self.log.append(self.name)
        encoder_s, self.asked = self.encoder_s[self.asked], self.asked + 1
        return Run(self.mel_s, encoder_s, 1.0, 1.1 + encoder_s, 20 / encoder_s, 3 + encoder_s, self.prompt_tokens)

    def close(self) -> Footprint:
        self.log.append(f"{self.name} closed")
        return self.footprint

    def stop(self) -> None:
        self.log.append(f"{self.name} stopped")


def opening(contestant: Timed) -> Callable[[], Timed]:
    return lambda: contestant


@pytest.mark.usefixtures("still")
class TestResult:
    def measured(self, *, runs: int = 3, **peer: Any) -> tuple[dict[str, Any], list[str]]:
        log: list[str] = []
        own = Timed("a", [9, 1, 2, 4], log)
        other = Timed("b", [9, 3, 4, 4], log, **peer)
        return measure({"a": opening(own)}, {"b": opening(other)}, Settings(runs=runs, threads=2)), log

    def test_turns_alternate_and_the_first_round_warms_up(self) -> None:
        _, log = self.measured()
        assert "".join(log[:8]) == "abbaabba"
        assert sorted(log[8:]) == ["a closed", "a stopped", "b closed", "b stopped"]

    def test_medians_and_every_run(self) -> None:
        result, _ = self.measured()
        engine = result["engines"]["a"]
        assert [run["encoder_s"] for run in engine["runs"]] == [1, 2, 4]
        assert {name: engine[name] for name in MEASURES} == {
            "mel_s": 0.1,
            "encoder_s": 2,
            "prefill_s": 1,
            "ttft_s": 3.1,
            "total_s": 5,
            "decode_tokens_per_s": 10,
        }
        assert (engine["load_s"], engine["peak_rss_gb"], engine["version"]) == (0.5, 2.0, "1.0")

    def test_ratios_are_taken_within_each_round(self) -> None:
        ahead = self.measured()[0]["times_ahead"]["a"]["b"]
        assert ahead["encoder_s"] == {"median": 2, "pairs": [3, 2, 1]}
        assert ahead["decode_tokens_per_s"] == {"median": 2, "pairs": [3, 2, 1]}
        assert ahead["prefill_s"] == {"median": 1, "pairs": [1, 1, 1]}

    def test_the_share_of_the_memorys_rate(self) -> None:
        engine = self.measured()[0]["engines"]["a"]
        assert engine["bandwidth_share"] == pytest.approx(10 * 1.25 / RATE_GB_PER_S)

    def test_what_a_peer_does_not_tell_is_not_compared(self) -> None:
        result, _ = self.measured(mel_s=None)
        assert result["engines"]["b"]["mel_s"] is None
        assert "mel_s" not in result["times_ahead"]["a"]["b"]
        rows = {row[0]: row[1:] for row in report.rows(result)}
        assert rows["mel, s"] == ["0.100", "-", ""]
        assert rows["encoder, s"] == ["2.00", "4.00", "2.00 times"]
        assert report.header(result) == ["", "a", "b", "ahead of b"]

    def test_what_is_going_on_is_said(self) -> None:
        said: list[str] = []
        measure({"a": opening(Timed("a", [1, 4], []))}, {}, Settings(runs=1), said=said.append)
        assert said == [
            "loading a",
            "warming up: a",
            "warming up: a, TTFT 2.10 s, decode 20.0 tokens/s",
            "round 1 of 1: a",
            "round 1 of 1: a, TTFT 5.10 s, decode 5.0 tokens/s",
        ]

    def test_a_quiet_machine_needs_no_note(self) -> None:
        assert self.measured()[0]["notes"] == []

    def test_prompts_that_differ_are_noted(self) -> None:
        (note,) = self.measured(prompt_tokens=810)[0]["notes"]
        assert note == "the prompts differ in length, in tokens: a 770, b 810"

    def test_a_machine_at_work_is_noted(self) -> None:
        own = Timed("a", [1, 1], [])
        result = measure({"a": opening(own)}, {}, Settings(runs=1), load_average=0.8)
        assert result["notes"][0].startswith("the machine was at work before (load average 0.8)")
        assert result["machine"]["load_average"] == 0.8

    def test_several_of_ours(self) -> None:
        log: list[str] = []
        own = {name: opening(Timed(name, [1, 1], log)) for name in ("int4", "bf16")}
        result = measure(own, {"b": opening(Timed("b", [1, 2], log))}, Settings(runs=1))
        assert result["times_ahead"]["bf16"]["b"]["encoder_s"]["median"] == 2
        assert report.header(result)[-2:] == ["int4 ahead of b", "bf16 ahead of b"]

    def test_one_that_fails_stops_all(self) -> None:
        log: list[str] = []
        with pytest.raises(IndexError):
            measure({"a": opening(Timed("a", [1, 1], log))}, {"b": opening(Timed("b", [1], log))}, Settings(runs=1))
        assert sorted(log)[-2:] == ["b", "b stopped"]
        assert "a stopped" in log

    def test_flat(self) -> None:
        result, _ = self.measured()
        flat = report.flat(result, "a")
        assert json.loads(json.dumps(flat)) == flat
        assert (flat["encoder_s"], flat["peers"]["b"]["encoder_s"], flat["threads"]) == (2, 4, 2)
        assert flat["times_ahead"]["b"]["encoder_s"]["pairs"] == [3, 2, 1]
        assert flat["memory_gb_per_s"] == {"1": RATE_GB_PER_S, "2": RATE_GB_PER_S}
        assert "0.25" not in report.decode_line(result, "a")
        assert "1.25 GB of weights: at 10.0 tokens/s, 25% of the rate" in report.decode_line(result, "a")
        assert "1 thread, 50 GB/s with 2 threads" in report.machine_line(result)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"tokens": 1}, "tokens is 1; it must be at least 2"),
        ({"runs": 0}, "runs is 0; it must be at least 1"),
        ({"threads": 0}, "threads is 0; it must be at least 1"),
        ({"seconds": 31}, "seconds is 31; it must be above 0 and at most 30"),
        ({"seconds": 0}, "seconds is 0"),
        ({"seconds": float("nan")}, "seconds is nan"),
    ],
)
def test_settings_outside_their_range(wrong: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError, match=told):
        Settings(**wrong)


def test_the_sound_is_as_long_as_asked_for() -> None:
    assert len(sound(0.5)) == 8000
    assert np.abs(sound(0.5)).max() < 1


@pytest.mark.filterwarnings("ignore")
def test_the_real_engines_in_turns(work: Path) -> None:
    settings = Settings(runs=2, threads=1, device="cpu", dtype="bfloat16")
    folder = make("small", "bf16", work)
    result = measure({"auricle": ours(folder, settings)}, {"transformers": transformers(folder, settings)}, settings)
    for engine in result["engines"].values():
        assert (engine["prompt_tokens"], engine["dtype"], engine["device"]) == (770, "bfloat16", "cpu")
        assert len(engine["runs"]) == 2
        assert engine["load_s"] > 0
        assert engine["peak_rss_gb"] > 0.1
        for run in engine["runs"]:
            assert run["mel_s"] + run["encoder_s"] + run["prefill_s"] <= run["ttft_s"] + 1e-6
            assert 0 < run["ttft_s"] < run["total_s"]
    ours_s, theirs_s = (result["engines"][name]["runs"][0]["ttft_s"] for name in ("auricle", "transformers"))
    assert result["times_ahead"]["auricle"]["transformers"]["ttft_s"]["pairs"][0] == pytest.approx(theirs_s / ours_s)


@pytest.mark.gpu
@pytest.mark.filterwarnings("ignore")
def test_on_a_card(work: Path) -> None:
    settings = Settings(runs=1, threads=1, device="cuda", dtype="bfloat16")
    folder = make("small", "bf16", work)
    result = measure({"auricle": ours(folder, settings)}, {"transformers": transformers(folder, settings)}, settings)
    assert result["settings"]["device"].startswith("cuda")
    assert result["machine"]["card_memory_gb_per_s"] > 10
    assert 0 < result["engines"]["auricle"]["bandwidth_share"] < 1
    assert "reads its own at" in report.machine_line(result)


@pytest.mark.parametrize(("scheme", "bits"), [("bf16", 16), ("int8", 8), ("int4", 4.5)])
def test_active_weights_are_what_decoding_reads(work: Path, scheme: str, bits: float) -> None:
    folder = make("small", scheme, work)
    worker = Worker("auricle", Loading(str(folder), "cpu", "bfloat16", 1))
    worker.run(sound(1), 2)
    active = worker.close().active_weight_gb
    assert active is not None
    linears = 0.9e6 * bits / 8 / 1e9  # of 0.9 million numbers: norms and tables' scales come on top
    assert linears < active < 1.3 * linears


class TestWorker:
    def test_an_error_of_ours_stays_one(self, tmp_path: Path) -> None:
        with pytest.raises(CheckpointError, match="is no checkpoint folder"):
            Worker("auricle", Loading(str(tmp_path), "cpu", "auto", 1))

    def test_any_other_failure_says_who_and_what(self, work: Path) -> None:
        worker = Worker("auricle", Loading(str(make("small", "int4", work)), "cpu", "auto", 1))
        with pytest.raises(AuricleError, match=r"^auricle failed: \w+Error: ") as failed:
            worker.run(sound(1), "two")  # type: ignore[arg-type]
        assert "Traceback" in str(failed.value.__cause__)

    def test_a_process_that_ends_is_told(self, work: Path) -> None:
        worker = Worker("auricle", Loading(str(make("small", "int4", work)), "cpu", "auto", 1))
        worker._process.kill()
        with pytest.raises(AuricleError, match="auricle ended with exit code -9: out of memory"):
            worker.run(sound(1), 2)
