"""The README's tables are those of the results, and every benchmark runs."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import soundfile
import torch

from auricle.checkpoint import Checkpoint
from auricle.models.text import TextCodec
from benchmarks import checkpoint, e2b, machine, tables, tiny


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("benchmarks") / "small"
    checkpoint.make(folder, "small")
    return folder


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


def test_the_checkpoint_is_written_in_shards(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint, "SHARD_BYTES", 500_000)
    monkeypatch.setattr(checkpoint, "PIECE", 1000)
    checkpoint.make(tmp_path, "small")
    opened = Checkpoint(tmp_path)
    assert len({info.file for info in opened.tensors.values()}) > 3
    clip = "model.audio_tower.layers.0.self_attn.q_proj.input_"
    assert (opened.tensor(f"{clip}min").item(), opened.tensor(f"{clip}max").item()) == (-9984, 9984)  # 1e4 in bfloat16
    assert torch.equal(opened.tensor("model.language_model.norm.weight"), torch.ones(64, dtype=torch.bfloat16))
    weights = opened.tensor("model.language_model.layers.0.mlp.up_proj.weight").float()
    assert weights.shape == (128, 64)
    assert abs(weights.std() - 0.02) < 0.001


def test_a_checkpoint_that_is_there_is_left_alone(small: Path) -> None:
    before = {path.name: path.stat().st_mtime_ns for path in small.iterdir()}
    checkpoint.make(small, "small")
    assert {path.name: path.stat().st_mtime_ns for path in small.iterdir()} == before


def test_the_tokenizer_has_control_tokens_words_and_bytes(small: Path) -> None:
    codec = TextCodec(Checkpoint(small))
    text = "<|turn>user\nWhat does the speaker say?é<|audio|>"
    ids = codec.encode(text)
    assert ids[0] == 105
    assert ids[-1] == 501
    assert len(ids) == 1 + 2 + 6 + 2 + 1  # control, words, bytes
    assert codec.decode(ids) == "user\nWhat does the speaker say?é"


@pytest.mark.filterwarnings("ignore")
def test_both_engines_answer_in_turns(small: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    results = tmp_path / "results.json"
    e2b.main(["--size", "small", "--out", str(small), "--runs", "2", "--threads", "1", "--results", str(results)])
    result = json.loads(results.read_text())
    assert result["settings"]["prompt_tokens"] == 770
    for engine in result["engines"].values():
        assert len(engine["runs"]) == 2
        assert engine["load_s"] > 0
        for run in engine["runs"]:
            assert run["mel_s"] + run["encoder_s"] + run["prefill_s"] <= run["ttft_s"] + 1e-6
            assert 0 < run["ttft_s"] < run["total_s"]
    ours, theirs = (result["engines"][name]["runs"][0]["ttft_s"] for name in ("auricle", "transformers"))
    assert result["times_ahead"]["ttft_s"]["pairs"][0] == pytest.approx(theirs / ours)
    assert "time to the first token" in capsys.readouterr().out


def test_a_failing_engine_says_why(tmp_path: Path) -> None:
    from benchmarks.engines import Worker

    with pytest.raises(RuntimeError, match=r"auricle failed:(?s:.*)no model"):
        Worker("auricle", tmp_path / "nowhere", threads=1)


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
