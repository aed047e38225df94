"""The benchmarks of the models that make sound run, small, and their tables say what they found."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import audiolm, audiolm_generate, audiolm_tables, audiolm_train, codec


def ran(main: Any, tmp_path: Path, *arguments: str) -> dict[str, Any]:
    results = tmp_path / "results.json"
    main([*arguments, "--threads", "1", "--results", str(results)])
    assert str(tmp_path) not in results.read_text()  # it is committed
    return json.loads(results.read_text())


def test_the_codec(tmp_path: Path) -> None:
    result = ran(codec.main, tmp_path, "--clips", "2", "--rounds", "1")
    for found in result["kinds"].values():
        assert len(found["si_sdr_db"]) == len(found["log_mel_db"]) == len(found["perplexity"]) == 4
        assert found["si_sdr_db"][3] > found["si_sdr_db"][0]
    assert len(audiolm_tables.codec(result).splitlines()) == 2 + 4 + 2


def test_generation(tmp_path: Path) -> None:
    small = [
        "--d-model",
        "32",
        "--nhead",
        "2",
        "--layers",
        "1",
        "--prompt",
        "5",
        "--frames",
        "12",
        "--dtype",
        "float32",
    ]
    result = ran(audiolm_generate.main, tmp_path, *small, "--rounds", "1", "--points", "3")
    assert result["total_s"] == pytest.approx(result["ar_s"] + result["nar_s"], abs=0.01)
    assert result["without_cache_ar_s"] >= 0
    assert "| both | " in audiolm_tables.generate(result)


def test_training(tmp_path: Path) -> None:
    small = ["--width", "32", "--nhead", "2", "--layers", "1", "--items", "4", "--seconds", "20", "--rounds", "1"]
    result = ran(audiolm_train.main, tmp_path, *small)
    assert result["equal"]["auricle"] > 0
    assert result["unequal"]["decoder"] > 0 < result["unequal"]["joined"]
    assert "1.3 times" in audiolm_tables.train(result)


def test_batches_hold_every_item_once_and_no_more_seconds_than_asked() -> None:
    import torch

    items = [audiolm_train.Clip(torch.zeros(frames, 4)) for frames in (100, 700, 120, 650, 110)]
    for batches in (audiolm_train.as_they_come(items, 20), audiolm_train.Buckets(items, 20).batches(0)):
        assert sorted(i for batch in batches for i in batch) == list(range(5))
        assert all(len(batch) * max(items[i].seconds for i in batch) <= 20 for batch in batches)


@pytest.mark.slow
def test_what_is_made(tmp_path: Path) -> None:
    columns = {name: [0.5] * 4 for name in ("cross_entropy", "top1", "top10")}
    trained = {"test": {**columns, "baselines": {"unigram": columns, "copy_last": columns}}}
    (tmp_path / "trained.json").write_text(json.dumps(trained))
    result = ran(audiolm.main, tmp_path, "--melodies", "3", "--trained", str(tmp_path / "trained.json"))
    assert result["melodies"] == 3
    assert 0 <= result["continue"]["in_key"]["made"]["mean"] <= 1
    assert "chance" in audiolm_tables.audiolm(result)
    assert len(audiolm_tables.codes(result).splitlines()) == 6
