"""`auricle bench`: the table, the JSON, and what bad input gets. Figures of such small models mean nothing."""

from __future__ import annotations

import importlib.util
import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from auricle.bench import machine
from auricle.bench.making import make
from tests.cli.conftest import Run

QUICK = ["--runs", 1, "--seconds", 1, "--tokens", 3, "--threads", 1]
KEYS = {"load_s", "mel_s", "encoder_s", "prefill_s", "ttft_s", "decode_tokens_per_s", "total_s", "peak_rss_gb"}


@pytest.fixture(scope="module")
def work(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("random")


@pytest.fixture(autouse=True)
def still(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "load_average", lambda: 0.1)
    monkeypatch.setattr(machine, "memory_gb_per_s", lambda threads: 40.0)


@pytest.fixture
def small(auricle: Run, work: Path) -> Run:
    """`auricle bench --random-weights small`, quick."""
    return lambda *arguments: auricle("bench", "--random-weights", "small", "--work", work, *QUICK, *arguments)


@pytest.mark.parametrize("scheme", ["int4", "int8", "bf16"])
def test_json(small: Run, work: Path, scheme: str) -> None:
    done = small("--scheme", scheme, "--json")
    assert done.status == 0, done
    record = done.json
    assert all(record[key] > 0 for key in KEYS), record
    assert (record["model"], record["scheme"]) == ("small", scheme)
    assert record["folder"] == str(work / f"small-{scheme}")
    assert record["memory_gb_per_s"] == {"1": 40.0}
    assert record["active_weight_gb"] > 0
    share = record["decode_tokens_per_s"] * record["active_weight_gb"] / 40
    assert record["bandwidth_share"] == pytest.approx(share)
    assert (record["threads"], record["settings"]["seconds"], record["settings"]["tokens"]) == (1, 1.0, 3)
    assert record["versions"]["torch"]
    assert isinstance(record["features"], list)
    assert len(record["runs"]) == 1
    assert record["runs"][0]["ttft_s"] == record["ttft_s"]
    assert (record["peers"], record["times_ahead"], record["notes"]) == ({}, {}, [])
    assert done.err.startswith(f"note: random weights in {scheme}: {work / f'small-{scheme}'} (")


def test_the_table(small: Run) -> None:
    done = small()
    assert done.status == 0, done
    title, header, *rows = done.out.splitlines()
    assert title == "# small (int4, computing in float32 on cpu): 1 s of sound, 3 tokens, medians of 1"
    assert header.split() == ["auricle"]
    labels = [row.partition("  ")[0] for row in rows]
    for label in ("load, s", "mel, s", "encoder, s", "time to the first token, s", "decode, tokens/s", "total, s"):
        assert label in labels
    assert "a decode step reads" in done.out
    assert "that reads memory at 40 GB/s with 1 thread" in done.out


@pytest.mark.filterwarnings("ignore")
def test_vs_transformers(small: Run, work: Path) -> None:
    """The packed one against the dense one of the same weights, which is made for it."""
    record = small("--scheme", "int4", "--vs", "transformers", "--json").json
    theirs = record["peers"]["transformers"]
    assert record["times_ahead"]["transformers"]["ttft_s"]["median"] == pytest.approx(
        theirs["ttft_s"] / record["ttft_s"]
    )
    assert (work / "small-bf16").is_dir()
    assert theirs["prompt_tokens"] == record["prompt_tokens"]


@pytest.mark.filterwarnings("ignore")
def test_a_model_of_ones_own(auricle: Run, e2b: Path) -> None:
    done = auricle("bench", e2b, *QUICK, "--vs", "transformers", "--dtype", "bfloat16", "--json")
    assert done.status == 0, done
    assert (done.json["model"], done.json["scheme"], done.json["dtype"]) == (str(e2b), "float32", "bfloat16")
    assert done.json["peers"]["transformers"]["dtype"] == "bfloat16"


def test_the_built_in_model_is_measured_unless_another_is_named(auricle: Run) -> None:
    done = auricle("bench", *QUICK, "--json")
    assert done.status == 0, done
    assert done.json["model"] == "tiny"


def test_random_weights_go_to_the_cache(auricle: Run, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    done = auricle("bench", "--random-weights", "small", *QUICK, "--json")
    assert done.json["folder"] == str(tmp_path / "auricle" / "random" / "small-int4")


def test_a_machine_at_work_is_said(small: Run, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(machine, "load_average", lambda: 1.5)
    assert "note: the machine was at work before (load average 1.5)" in small().err


class TestBadInput:
    @pytest.mark.parametrize(
        ("arguments", "told"),
        [
            (
                ["--random-weights", "large"],
                "no random weights for 'large': known are gemma-4-e2b, qwen2-audio-7b, small",
            ),
            (["--random-weights", "small", "--scheme", "q4"], "unknown scheme 'q4': known are bf16, int8, int4"),
            (["tiny", "--random-weights", "small"], "tiny and --random-weights small are two models"),
            (
                ["--scheme", "int4"],
                "--scheme int4 is for --random-weights; tiny is measured as it is: `auricle quantize",
            ),
            (["--work", "somewhere"], "--work is for --random-weights"),
            (["--tokens", "1"], "tokens is 1; it must be at least 2"),
            (["--runs", "0"], "runs is 0; it must be at least 1"),
            (["--threads", "0"], "threads is 0; it must be at least 1"),
            (["--seconds", "45"], "seconds is 45; it must be above 0 and at most 30"),
            (["--vs", "vllm"], "no peer 'vllm': --vs takes transformers or llama.cpp"),
            (["--vs", "llama.cpp"], "needs --llama-bench, --llama-mtmd-cli, --gguf, --mmproj too"),
            (["--gguf", "model.gguf"], "--gguf is for --vs llama.cpp"),
            (["--device", "abacus"], "unknown device 'abacus'"),
            (["--dtype", "int3"], "unknown dtype 'int3'"),
            (["nowhere"], "no model 'nowhere'"),
        ],
    )
    def test_options(self, refused: Callable[..., str], arguments: list[str], told: str) -> None:
        assert told in refused("bench", *arguments)

    def test_llama_files_that_are_not_there(self, refused: Callable[..., str], tmp_path: Path) -> None:
        for name in ("bench", "cli"):
            (tmp_path / name).write_text("#!/bin/sh\n")
            (tmp_path / name).chmod(0o755)
        given = ["--llama-bench", tmp_path / "bench", "--llama-mtmd-cli", tmp_path / "cli"]
        given += ["--gguf", tmp_path / "model.gguf", "--mmproj", tmp_path / "mmproj.gguf"]
        told = refused("bench", "--vs", "llama.cpp", *given)
        assert told == f"--gguf: there is no file {tmp_path}/model.gguf; check the path"

    def test_transformers_that_is_not_installed(
        self, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        find = importlib.util.find_spec
        monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "transformers" else find(name))
        assert 'pip install "auricle[transformers]"' in refused("bench", "--vs", "transformers")

    def test_transformers_on_a_quantised_folder(self, refused: Callable[..., str], work: Path) -> None:
        folder = make("small", "int4", work)
        told = refused("bench", folder, "--vs", "transformers")
        assert f"needs dense weights, and {folder} is quantised to int4" in told

    def test_a_folder_that_is_no_checkpoint(self, refused: Callable[..., str], tmp_path: Path) -> None:
        assert "is no checkpoint folder" in refused("bench", tmp_path)

    def test_a_damaged_one_fails_in_its_own_words(
        self, refused: Callable[..., str], work: Path, tmp_path: Path
    ) -> None:
        folder = shutil.copytree(make("small", "bf16", work), tmp_path / "damaged")
        config = json.loads((folder / "config.json").read_text())
        config["text_config"]["num_hidden_layers"] = 10
        config["text_config"]["layer_types"] = config["text_config"]["layer_types"][:10]
        (folder / "config.json").write_text(json.dumps(config))
        assert "has unknown tensor" in refused("bench", folder)

    def test_a_full_disk(self, refused: Callable[..., str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
        monkeypatch.setattr(shutil, "disk_usage", lambda path: shutil._ntuple_diskusage(10**9, 10**9, 10**6))
        told = refused("bench", "--random-weights", "gemma-4-e2b", "--work", tmp_path)
        assert "gemma-4-e2b in int4 needs" in told
        assert "name another place with --work" in told
