"""`auricle quantize`, and what `auricle inspect` says of a quantised folder."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from auricle.checkpoint import PACKING_REPORT
from auricle.layers import native
from auricle.quant import quantize as library
from auricle.quant import writer
from tests.checkpoints import make_checkpoint
from tests.cli.conftest import Done, Run

HEADER = ["part", "scheme", "bits", "before", "after", "relative", "error"]


@pytest.fixture(scope="module")
def packed(e2b: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be read only."""
    out = tmp_path_factory.mktemp("packed") / "int4"
    from auricle.checkpoint import Checkpoint

    library.quantize(Checkpoint(e2b), "int4", out)
    return out


@pytest.fixture
def damaged(packed: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(packed, tmp_path / "damaged"))


def table(done: Done, title: str) -> list[list[str]]:
    """The cells of a plain table, its header first."""
    rows = done.out.partition(f"# {title}")[2].split("\n\n")[0].splitlines()[1:]
    return [[cell for cell in row.split("  ") if cell] for row in rows]


class TestQuantize:
    def test_a_table_of_what_it_costs(self, auricle: Run, e2b: Path, tmp_path: Path) -> None:
        done = auricle("quantize", e2b, "--scheme", "int4", "--out", tmp_path / "out")
        assert (done.status, done.err) == (0, "")
        header, *rows = table(done, f"{e2b} in int4: {tmp_path / 'out'}")
        assert " ".join(header).split() == HEADER
        cells = {row[0].strip(): [cell.strip() for cell in row[1:]] for row in rows}
        assert cells["language_model.embed_tokens"][:2] == ["int8-rows", "8.50"]
        assert cells["language_model.lm_head"][:3] == ["int4", "4.50", "0 bytes"]
        assert cells["language_model.norm"] == ["dense", "32.00", "256 bytes", "256 bytes"]
        assert cells["all"][0] == "int4, int4-rows, int8, int8-rows"
        assert cells["language_model.layers"][-1].endswith(" %")

    def test_and_it_answers(self, auricle: Run, e2b: Path, tmp_path: Path, sounds: Path) -> None:
        auricle("quantize", e2b, "--scheme", "int8", "--out", tmp_path / "out")
        done = auricle("ask", sounds / "tone.wav", "--model", tmp_path / "out", "--max-tokens", 3)
        assert done.status == 0
        assert done.out

    def test_json(self, auricle: Run, e2b: Path, tmp_path: Path) -> None:
        done = auricle("quantize", e2b, "--scheme", "int8", "--out", tmp_path / "out", "--json")
        assert (done.status, done.err, done.out.count("\n")) == (0, "", 1)
        record = done.json
        assert record["folder"] == str(tmp_path / "out")
        assert (record["model"], record["scheme"], record["notes"]) == (str(e2b), "int8", [])
        assert record["bytes"] < 0.5 * record["bytes_before"]
        assert record["parts"]["all"]["bytes"] == record["bytes"]
        assert 0 < record["parts"]["audio_tower.layers"]["error"] < 0.01
        assert record["parts"]["language_model.norm"]["error"] is None
        assert record["dropped"] == {}

    def test_the_audio_tower_in_bfloat16(self, auricle: Run, e2b: Path, tmp_path: Path) -> None:
        arguments = ("quantize", e2b, "--scheme", "int4", "--out", tmp_path / "out", "--audio-tower", "bf16", "--json")
        assert auricle(*arguments).json["parts"]["audio_tower.layers"]["scheme"] == "bf16"

    def test_what_the_user_should_know(self, auricle: Run, tmp_path: Path) -> None:
        source = make_checkpoint(tmp_path / "e4b", family="e4b")
        done = auricle("quantize", source, "--scheme", "int4", "--out", tmp_path / "out")
        assert done.err == (
            "note: language_model.embed_tokens_per_layer is 72 wide, not a multiple of 32: packed as int8-rows\n"
        )

    def test_what_was_left_out(self, auricle: Run, copied: Path, tmp_path: Path) -> None:
        import torch
        from safetensors.torch import load_file, save_file

        weights = copied / "model.safetensors"
        save_file({**load_file(weights), "model.vision_tower.x": torch.zeros(250)}, weights)
        done = auricle("quantize", copied, "--scheme", "int4", "--out", tmp_path / "out")
        assert done.err == "note: left out as not needed: vision_tower (1.0 kB, tensors: 1)\n"

    def test_provenance_is_a_name_and_not_a_place(
        self, auricle: Run, e2b: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def source(model: object, out: str) -> str:
            assert auricle("quantize", model, "--scheme", "int4", "--out", tmp_path / out).status == 0
            config = json.loads((tmp_path / out / "config.json").read_text())
            return str(config["quantization_config"]["provenance"]["source"])

        assert source(e2b, "a") == "e2b"
        assert source("tiny", "b") == "tiny"
        monkeypatch.chdir(e2b)
        assert source(".", "c") == "e2b"
        from auricle.cli import quantize as command

        snapshot = tmp_path / "models--org--model" / "snapshots" / "abc123"
        shutil.copytree(e2b, snapshot)
        monkeypatch.setattr(command, "find", lambda name: snapshot)
        assert source("org/model", "d") == "org/model@abc123"

    @pytest.mark.parametrize(
        ("arguments", "said"),
        [
            (("--scheme", "int3", "--out", "out"), "Invalid value for '--scheme': 'int3' is not one of 'int4', 'int8'"),
            (("--scheme", "int4"), "Missing option '--out'"),
            (("--out", "out"), "Missing option '--scheme'"),
            (
                ("--scheme", "int4", "--out", "out", "--audio-tower", "int4"),
                "Invalid value for '--audio-tower': 'int4'",
            ),
        ],
    )
    def test_options(self, refused: Callable[..., str], e2b: Path, arguments: tuple[str, ...], said: str) -> None:
        assert said in refused("quantize", e2b, *arguments)

    def test_what_cannot_be_quantised(self, refused: Callable[..., str], packed: Path, tmp_path: Path) -> None:
        said = refused("quantize", packed, "--scheme", "int8", "--out", tmp_path / "out")
        assert said == f"{packed} is quantised already (int4): quantise the dense model that it was made from"
        assert list(tmp_path.iterdir()) == []

    def test_a_place_that_is_taken(self, refused: Callable[..., str], e2b: Path) -> None:
        assert refused("quantize", e2b, "--scheme", "int4", "--out", e2b).endswith("not empty: name a new folder")

    def test_a_disk_without_room(
        self, auricle: Run, e2b: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """A failure, but not of what was given: status 1."""
        monkeypatch.setattr(writer.shutil, "disk_usage", lambda path: SimpleNamespace(free=1000))
        done = auricle("quantize", e2b, "--scheme", "int4", "--out", tmp_path / "out")
        assert (done.status, done.out) == (1, "")
        assert "is too full: 0.00 GB (" in done.err
        assert list(tmp_path.iterdir()) == []

    def test_an_interruption(self, auricle: Run, e2b: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        def interrupt(*arguments: Any) -> None:
            raise KeyboardInterrupt

        monkeypatch.setattr(writer.Writer, "write", interrupt)
        assert auricle("quantize", e2b, "--scheme", "int4", "--out", tmp_path / "out").status == 130
        assert list(tmp_path.iterdir()) == []


class TestInspect:
    def test_scheme_and_provenance(self, auricle: Run, packed: Path) -> None:
        done = auricle("inspect", packed)
        assert (done.status, done.err) == (0, "")
        about = dict(table(done, "quantisation")[1:])
        assert about["scheme"].strip() == "int4"
        assert about.keys() >= {"source", "source_dtype", "auricle", "date"}

    def test_bits_and_errors(self, auricle: Run, packed: Path) -> None:
        done = auricle("inspect", packed)
        sizes = {row[0]: [cell.strip() for cell in row[1:]] for row in table(done, "sizes")}
        assert sizes["part"] == ["tensors", "numbers", "size", "bits", "error"]
        assert sizes["language_model.lm_head"][:2] == ["2", f"{320 * 64:,}"]
        assert sizes["language_model.lm_head"][3] == "4.50"
        assert sizes["language_model.norm"][3:] == ["32.00"]
        tensors = {row[0]: [cell.strip() for cell in row[1:]] for row in table(done, "tensors")}
        assert tensors["name"] == ["count", "type", "shape", "bits", "error"]
        weight = tensors["model.language_model.layers.*.mlp.up_proj.weight"]
        assert weight[1] == "U8"
        assert weight[3] == "4.50"
        assert 7 < float(weight[4].removesuffix(" %")) < 9
        assert len(tensors["model.language_model.layers.*.mlp.up_proj.scales"]) == 3

    def test_numbers_are_the_models(self, auricle: Run, packed: Path, e2b: Path) -> None:
        """Not the bytes that hold them."""
        dense, found = (auricle("inspect", folder, "--json").json["sizes"] for folder in (e2b, packed))
        assert found["language_model.layers"]["numbers"] == dense["language_model.layers"]["numbers"]
        assert found["all"]["numbers"] == dense["all"]["numbers"] + 320 * 64  # the head, twice

    def test_json(self, auricle: Run, packed: Path) -> None:
        record = auricle("inspect", packed, "--json").json
        assert record["quantisation"]["scheme"] == "int4"
        assert ["language_model.lm_head", "int4"] in record["quantisation"]["rules"]
        tensors = {tensor["name"]: tensor for tensor in record["tensors"]}
        assert tensors["model.language_model.lm_head.weight"]["bits"] == 4.5
        assert 0.07 < tensors["model.language_model.lm_head.weight"]["error"] < 0.09
        assert tensors["model.language_model.norm.weight"]["bits"] is None

    def test_a_dense_model_has_no_such_columns(self, auricle: Run, e2b: Path) -> None:
        out = auricle("inspect", e2b).out
        assert not any(word in out for word in ("bits", "error", "# quantisation"))
        assert auricle("inspect", e2b, "--json").json["quantisation"] is None

    def test_which_kernels(self, auricle: Run, e2b: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(native, "missing", lambda: None)
        monkeypatch.setattr(native, "describe", lambda: "abacus")
        assert dict(table(auricle("inspect", e2b), "model")[1:])["kernels"].strip() == "abacus"
        assert auricle("inspect", e2b, "--json").json["kernels"] == "abacus"

    def test_or_why_there_are_none(self, auricle: Run, e2b: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(native, "missing", lambda: "no compiler")
        assert "kernels  torch's own operators; no compiler\n" in auricle("inspect", e2b).out
        record = auricle("inspect", e2b, "--json").json
        assert (record["kernels"], record["kernels_missing"]) == (None, "no compiler")

    def test_what_was_packed_in_a_way_unknown_here(self, auricle: Run, damaged: Path) -> None:
        """It is shown all the same."""
        config = json.loads((damaged / "config.json").read_text())
        config["quantization_config"]["version"] = 9
        (damaged / "config.json").write_text(json.dumps(config))
        done = auricle("inspect", damaged)
        assert done.status == 0
        assert "gemma4 (does not run here)" in done.out
        assert "is quantised in version 9" in done.out
        assert auricle("inspect", damaged, "--json").json["runs"] is False

    def test_without_its_report(self, auricle: Run, damaged: Path) -> None:
        (damaged / PACKING_REPORT).unlink()
        done = auricle("inspect", damaged)
        assert done.status == 0
        assert "# quantisation" in done.out

    @pytest.mark.parametrize("content", ['{"tensors": {"a": {}}}', '{"tensors": 4}', '{"tensors": {"a": 1}}'])
    def test_with_a_damaged_report(self, refused: Callable[..., str], damaged: Path, content: str) -> None:
        (damaged / PACKING_REPORT).write_text(content)
        assert refused("inspect", damaged).endswith(f"{PACKING_REPORT} is damaged: delete it, or quantise again")

    def test_it_needs_no_torch(self, packed: Path) -> None:
        code = (
            "import sys; from auricle.cli.main import run; "
            f"status = run(['inspect', {str(packed)!r}, '--json']); "
            "sys.exit(status or 'torch' in sys.modules)"
        )
        assert subprocess.run([sys.executable, "-c", code], stdout=subprocess.DEVNULL, check=False).returncode == 0


class TestElsewhere:
    def test_a_command_says_on_stderr_that_kernels_are_missing(
        self, auricle: Run, packed: Path, sounds: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(native, "missing", lambda: "no compiler")
        done = auricle("ask", sounds / "tone.wav", "--model", packed, "--max-tokens", 1)
        assert done.status == 0
        assert done.err.startswith("note: ")
        assert "is packed in int4 and the kernels can't run it here (no compiler): torch's own" in done.err

    def test_verify_compares_dense_weights(self, refused: Callable[..., str], packed: Path, sounds: Path) -> None:
        said = refused("verify", packed, "--audio", sounds / "tone.wav")
        assert "is quantised (int4) and the reference reads dense weights: verify e2b that it was made from" in said

    def test_a_damaged_folder_is_one_line(self, refused: Callable[..., str], damaged: Path, sounds: Path) -> None:
        config = json.loads((damaged / "config.json").read_text())
        config["quantization_config"]["version"] = 9
        (damaged / "config.json").write_text(json.dumps(config))
        said = refused("ask", sounds / "tone.wav", "--model", damaged)
        assert "is quantised in version 9 with groups of 32, and version 1" in said
