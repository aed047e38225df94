"""`auricle inspect` and `auricle models`: what is at hand and what is in it."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

from auricle.cli.main import run
from tests.checkpoints import make_checkpoint
from tests.cli.conftest import Run


class TestInspect:
    def test_tables(self, auricle: Run, e2b: Path) -> None:
        done = auricle("inspect", e2b)
        assert (done.status, done.err) == (0, "")
        for title in ("model", "decoder", "encoder", "audio", "sizes", "tensors"):
            assert f"# {title}\n" in done.out
        assert "16000 Hz" in done.out
        assert "161 samples (10.1 ms)" in done.out
        assert "25 a second" in done.out
        assert "model.audio_tower.layers.*.self_attn.q_proj.linear.weight" in done.out
        assert "model.language_model.embed_tokens_per_layer.weight" in done.out

    def test_every_tensor(self, auricle: Run, e2b: Path) -> None:
        rows = auricle("inspect", e2b, "--tensors").out.partition("# tensors\n")[2].split("\n")
        names = {row.split()[0] for row in rows[1:] if row}
        assert names == {tensor["name"] for tensor in auricle("inspect", e2b, "--json").json["tensors"]}

    def test_json(self, auricle: Run, e2b: Path) -> None:
        record = auricle("inspect", e2b, "--json").json
        assert record["model_type"] == "gemma4"
        assert record["runs"] is True
        assert record["audio"] == {
            "rate": 16000,
            "min_samples": 161,
            "max_seconds": 30.0,
            "tokens_per_second": 25.0,
        }
        assert record["settings"]["decoder"]["layers"] == 8
        embedding = next(t for t in record["tensors"] if t["name"] == "model.language_model.embed_tokens.weight")
        assert (embedding["type"], embedding["shape"], embedding["bytes"]) == ("F32", [320, 64], 4 * 320 * 64)
        parts = {part: sizes["bytes"] for part, sizes in record["sizes"].items()}
        assert parts.pop("all") == sum(parts.values()) == sum(tensor["bytes"] for tensor in record["tensors"])

    def test_shards(self, auricle: Run, tmp_path: Path) -> None:
        record = auricle("inspect", make_checkpoint(tmp_path / "sharded", shards=2), "--json").json
        assert {tensor["file"] for tensor in record["tensors"]} == {
            "model-00001-of-00002.safetensors",
            "model-00002-of-00002.safetensors",
        }

    def test_a_model_that_cannot_hear(self, auricle: Run, tmp_path: Path) -> None:
        folder = make_checkpoint(tmp_path / "deaf", audio=False)
        assert auricle("inspect", folder, "--json").json["audio"] is None
        out = auricle("inspect", folder).out
        assert "does not run" not in out
        assert "hears  no" in out

    def test_a_model_of_another_type(self, auricle: Run, copied: Path) -> None:
        config = json.loads((copied / "config.json").read_text())
        (copied / "config.json").write_text(json.dumps({**config, "model_type": "llama"}))
        done = auricle("inspect", copied)
        assert done.status == 0
        assert "llama (does not run here)" in done.out
        assert "hears  unknown" in done.out

    def test_it_downloads_nothing(self, auricle: Run) -> None:
        done = auricle("inspect", "nobody/has-this-model")
        assert done.status == 2
        assert "fetch it with `auricle models pull nobody/has-this-model`" in done.err

    def test_it_needs_no_torch(self, e2b: Path) -> None:
        code = (
            "import sys; from auricle.cli.main import run; "
            f"status = run(['inspect', {str(e2b)!r}, '--json']); "
            "sys.exit(status or 'torch' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


class TestModels:
    @pytest.fixture
    def cache(self, tmp_path: Path, e2b: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
        """A hub cache with a whole model, one of another type, and one of which only some of the shards arrived."""
        for name, kind in (("org/whole", "gemma4"), ("org/other", "llama"), ("org/partial", "gemma4")):
            snapshot = tmp_path / f"models--{name.replace('/', '--')}" / "snapshots" / ("0" * 40)
            snapshot.mkdir(parents=True)
            (snapshot.parents[1] / "refs").mkdir()
            (snapshot.parents[1] / "refs" / "main").write_text("0" * 40)
            config = json.loads((e2b / "config.json").read_text())
            (snapshot / "config.json").write_text(json.dumps({**config, "model_type": kind}))
            weights = "model-00001-of-00002.safetensors" if name == "org/partial" else "model.safetensors"
            (snapshot / weights).write_bytes((e2b / "model.safetensors").read_bytes())
        index = {"weight_map": {"a": weights, "b": "model-00002-of-00002.safetensors"}}
        (snapshot / "model.safetensors.index.json").write_text(json.dumps(index))
        from huggingface_hub import _snapshot_download, constants, file_download
        from huggingface_hub.utils import _cache_manager

        for module in (constants, _cache_manager, _snapshot_download, file_download):
            if hasattr(module, "HF_HUB_CACHE"):
                monkeypatch.setattr(module, "HF_HUB_CACHE", str(tmp_path))
        return tmp_path

    @pytest.mark.usefixtures("cache")
    def test_built_in_and_cached_are_listed(self, auricle: Run) -> None:
        models = {model["name"]: model for model in auricle("models", "--json").json["models"]}
        assert next(iter(models)) == "tiny"
        assert models["tiny"]["where"] == "built in"
        assert models["org/whole"]["runs"] is True
        assert models["org/other"]["runs"] is False
        assert models["org/whole"]["bytes"] > 1_000_000
        assert set(models["tiny"]) == {"name", "model_type", "runs", "bytes", "where", "folder"}
        listing = auricle("models").out
        assert "llama (does not run here)" in listing
        assert models["org/whole"]["folder"] in listing

    @pytest.mark.usefixtures("cache")
    def test_a_cached_model_is_found_without_network(self, auricle: Run) -> None:
        assert auricle("inspect", "org/whole", "--json").json["model_type"] == "gemma4"

    @pytest.mark.usefixtures("cache")
    def test_an_interrupted_download_does_not_count_as_cached(self, auricle: Run) -> None:
        assert "org/partial is not in the cache" in auricle("inspect", "org/partial").err

    @pytest.mark.usefixtures("cache")
    def test_pull_without_network(self, auricle: Run) -> None:
        done = auricle("models", "pull", "org/missing")
        assert done.status == 2
        assert "org/missing is not in the cache and the hub can't be reached" in done.err
        assert "org/partial is not complete" in auricle("models", "pull", "org/partial").err
        assert auricle("models", "pull", "org/whole").status == 0

    def test_pull_of_what_needs_no_pulling(self, auricle: Run, e2b: Path) -> None:
        assert auricle("models", "pull", e2b).out == f"{e2b}\n"
        assert auricle("models", "pull", e2b, "--json").json == {"model": str(e2b), "folder": str(e2b)}

    def test_pull_prints_the_folder(
        self, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch, e2b: Path
    ) -> None:
        import huggingface_hub

        asked = {}

        def download(name: str, *, revision: str | None, **patterns: list[str]) -> str:
            asked.update(name=name, revision=revision)
            return str(e2b)

        monkeypatch.setattr(huggingface_hub, "snapshot_download", download)
        assert run(["models", "pull", "org/model@abc"]) == 0
        assert capsys.readouterr().out == f"{e2b}\n"
        assert asked == {"name": "org/model", "revision": "abc"}
