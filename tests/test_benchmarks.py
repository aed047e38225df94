"""The README's tables are those of the results, and every benchmark runs."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from auricle.bench import machine
from auricle.bench.making import make
from benchmarks import e2b, quality, tables, tiny

ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make("small", "bf16", tmp_path_factory.mktemp("benchmarks"))


def test_pages_have_the_tables_of_the_results() -> None:
    found: set[str] = set()
    for path in tables.PAGES:
        page = path.read_text(encoding="utf-8")
        assert tables.rewritten(page) == page, "run `python -m benchmarks.tables`"
        found.update(re.findall(r"<!-- table: (\w+) -->", page))
    assert found == set(tables.TABLES)


def test_results_are_whole() -> None:
    makers = dict(tables.TABLES.values())
    for path in tables.RESULTS.glob("*.json"):
        result = json.loads(path.read_text(encoding="utf-8"))
        assert path.stem in makers, f"{path.name} has no table"
        makers[path.stem](result)


def test_a_table_is_made_anew_and_the_rest_left_alone(tmp_path: Path) -> None:
    rows = [{"measure": "word error rate", "value": "7.0 %", "bar": "at most 10 %"}]
    (tmp_path / "tiny.json").write_text(json.dumps({"word_error_rate": 0.07, "rows": rows}))
    page = "before\n<!-- table: tiny -->\nold\n<!-- /table -->\n<!-- table: e2b -->\nkept\n<!-- /table -->\n"
    assert tables.rewritten(page, tmp_path) == (
        "before\n<!-- table: tiny -->\n"
        "| `tiny` on held-out voices and sentences | measured | the bar |\n| --- | ---: | ---: |\n"
        "| word error rate | 7.0 % | at most 10 % |\n"
        "<!-- /table -->\n<!-- table: e2b -->\nkept\n<!-- /table -->\n"
    )
    assert tables.rewritten(tables.rewritten(page, tmp_path), tmp_path) == tables.rewritten(page, tmp_path)


def engine(**figures: Any) -> dict[str, Any]:
    times = {"mel_s": 0.01, "encoder_s": 0.5, "prefill_s": 1.5, "ttft_s": 2.01, "total_s": 4.0, "load_s": 0.4}
    known = {"decode_tokens_per_s": 25.4, "peak_rss_gb": 2.4, "dtype": "bfloat16", "version": "1", "prompt_tokens": 770}
    return {**times, **known, "active_weight_gb": 1.234, "bandwidth_share": 0.888, **figures}


def test_the_table_of_engines() -> None:
    result = {
        "date": "2026-12-01",
        "versions": {"torch": "2.13.0"},
        "machine": {"processor": "EPYC", "features": ["avx2"], "memory_gb_per_s": {"1": 29.0, "2": 35.3}},
        "settings": {"seconds": 30.0, "threads": 2, "runs": 5},
        "notes": ["the machine was at work"],
        "engines": {
            "int4": engine(),
            "bf16": engine(ttft_s=2.5),
            "llama.cpp": engine(dtype="gemma4 E2B Q4_0", version="7 (0c1e570)", mel_s=None),
            "transformers": engine(version="5.23.0"),
        },
        "times_ahead": {
            "int4": {"llama.cpp": {"ttft_s": {"median": 6.24}}, "transformers": {"ttft_s": {"median": 2.0}}},
            "bf16": {"llama.cpp": {"ttft_s": {"median": 3.0}}, "transformers": {"ttft_s": {"median": 1.0}}},
        },
    }
    head, line, mel, *rest = tables.e2b(result).splitlines()
    assert head == (
        "| 30 s of sound | Auricle int4 | Auricle bf16 | llama.cpp Q4_0 | transformers bf16 | int4 ahead of llama.cpp "
        "| int4 ahead of transformers |"
    )
    assert line.count("---:") == 6
    assert mel == "| mel, s | 0.01 | 0.01 |  | 0.01 |  |  |"
    assert "| **time to the first token**, s | 2.01 | 2.50 | 2.01 | 2.01 | 6.2 times | 2.0 times |" in rest
    assert "| **decode**, tokens/s | 25.4 | 25.4 | 25.4 | 25.4 |  |  |" in rest
    note = rest[-1]
    assert "A decode step has to read 1.23 GB in int4 (89% of that rate), 1.23 GB in bf16" in note
    assert "that read memory at 35 GB/s" in note
    assert "torch 2.13.0, llama.cpp 7 (0c1e570), transformers 5.23.0, 2026-12-01." in note
    assert note.endswith(" Note: the machine was at work.")


@pytest.mark.filterwarnings("ignore")
def test_every_scheme_is_measured_in_one_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results.json"
    options = ["--preset", "small", "--work", str(tmp_path), "--runs", "1", "--threads", "1"]
    e2b.main([*options, "--results", str(results)])
    result = json.loads(results.read_text())
    assert list(result["engines"]) == ["int4", "int8", "bf16", "transformers"]
    assert {engine["prompt_tokens"] for engine in result["engines"].values()} == {770}
    assert list(result["times_ahead"]) == ["int4", "int8", "bf16"]
    assert str(tmp_path) not in results.read_text()  # it is committed
    shown = capsys.readouterr().out
    assert "| Auricle int4 | Auricle int8 | Auricle bf16 | transformers " in shown
    assert "| **time to the first token**, s |" in shown


def test_what_fewer_bits_cost(tmp_path: Path, held_out: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "quality.json"
    options = ["--preset", "small", "--work", str(tmp_path), "--data", str(held_out), "--results", str(results)]
    quality.main([*options, "--limit", "2"])
    result = json.loads(results.read_text())
    assert list(result["words"]["schemes"]) == ["dense", "int8", "int4"]
    assert result["words"]["schemes"]["int4"]["at_most_points"] == 1.5
    errors = result["logits"]["relative_errors"]
    for part in ("prompt", "decode"):
        assert 0 < errors["bf16"][part] < errors["int8"][part] < errors["int4"][part] < 1
    assert "| int4 |" in capsys.readouterr().out
    quality.main([*options, "--only", "logits"])
    assert json.loads(results.read_text())["words"] == result["words"]


@pytest.fixture
def held_out(tmp_path: Path) -> Path:
    """Two clips of speech, written as those that the recipe makes."""
    samples, _ = soundfile.read(ROOT / "examples" / "sentence.wav", dtype="int16")
    clip = {"start": 0, "samples": len(samples), "text": "some words", "voice": "en"}
    (tmp_path / "heldout-speech.jsonl").write_text(f"{json.dumps(clip)}\n" * 2)
    np.save(tmp_path / "heldout-speech.npy", samples)
    return tmp_path


def test_fresh_processes_are_timed(small: Path, tmp_path: Path) -> None:
    sound, results = tmp_path / "noise.wav", tmp_path / "start.json"
    soundfile.write(sound, np.random.default_rng(0).standard_normal(16_000) * 0.1, 16_000)
    tiny.main(["--model", str(small), "--sound", str(sound), "--runs", "1", "--results", str(results)])
    result = json.loads(results.read_text())
    assert result["median"]["ask_s"] > result["median"]["import_torch_s"] > 0
    assert str(tmp_path) not in results.read_text()
    assert "`auricle --help`" in tables.start(result)


def test_the_machine_is_described() -> None:
    described: dict[str, Any] = machine.describe()
    assert described["machine"]["cores"] >= 1
    assert described["versions"]["torch"].startswith(torch.__version__.partition("+")[0])


def test_load_on_a_server() -> None:
    from benchmarks import serve

    with serve.serving(["--max-queue", "1", "--max-running", "1"]) as port:
        seen = asyncio.run(serve.load(port, serve.new_sounds, clients=4, seconds=1.0, seed=1))
    told = serve.summary(seen, 1.0)
    assert set(told["statuses"]) == {"200", "429"}
    assert told["broken_off"] == 0
    assert 0 < told["ttft_p50_s"] <= told["ttft_p95_s"]
    assert seen.tokens >= 5 * seen.statuses[200]
