"""A folder that is there whole or not at all, and a safetensors file written in pieces."""

from __future__ import annotations

import errno
import json
import struct
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from safetensors.torch import load_file, safe_open
from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.errors import AuricleError, OptionError
from auricle.quant import writer as module
from auricle.quant.writer import Entry, Writer, new_folder, write_file

KINDS = {torch.uint8: "U8", torch.int8: "I8", torch.float16: "F16", torch.bfloat16: "BF16", torch.float32: "F32"}


def write(path: Path, tensors: dict[str, Tensor], rows: int = 3) -> None:
    """Some rows at a time, the tensors taking turns."""
    entries = {name: Entry.of(KINDS[tensor.dtype], tuple(tensor.shape)) for name, tensor in tensors.items()}
    flat = {name: tensor.reshape(-1, tensor.shape[-1] if tensor.dim() else 1) for name, tensor in tensors.items()}
    with Writer(path, entries) as writer:
        for start in range(0, max(map(len, flat.values())), rows):
            for name, tensor in flat.items():
                writer.write(name, tensor[start : start + rows])
    assert path.stat().st_size == writer.size


def tensors() -> dict[str, Tensor]:
    generator = torch.Generator().manual_seed(0)
    return {
        "odd": torch.randint(0, 255, (7, 3), generator=generator, dtype=torch.uint8),
        "norm": torch.randn(33, generator=generator).bfloat16(),
        "packed": torch.randint(0, 255, (4, 5, 256), generator=generator, dtype=torch.uint8),
        "scales": torch.randn(1, 3, 16, generator=generator).half(),
        "scalar": torch.tensor(3.5),
        "signed": torch.randint(-127, 127, (2, 2, 512), generator=generator).to(torch.int8),
        "floats": torch.randn(10, 16, generator=generator),
    }


# --- the file


def test_what_is_written_is_read(tmp_path: Path) -> None:
    write(tmp_path / "x.safetensors", tensors())
    found = load_file(tmp_path / "x.safetensors")
    assert found.keys() == tensors().keys()
    for name, tensor in tensors().items():
        assert found[name].dtype == tensor.dtype
        assert torch.equal(found[name], tensor)


def test_packed_tensors_begin_at_multiples_of_64(tmp_path: Path) -> None:
    path = tmp_path / "x.safetensors"
    write(path, tensors())
    content = path.read_bytes()
    length = struct.unpack("<Q", content[:8])[0]
    assert (8 + length) % 64 == 0
    header = json.loads(content[8 : 8 + length])
    begins = {name: entry["data_offsets"][0] for name, entry in header.items() if name != "__metadata__"}
    assert all(begins[name] % 64 == 0 for name in ("packed", "signed", "floats"))
    assert all(begins[name] % tensor.itemsize == 0 for name, tensor in tensors().items())
    with safe_open(path, framework="pt") as opened:
        assert all(opened.get_tensor(name).data_ptr() % 64 == 0 for name in ("packed", "signed", "floats"))


def test_views_that_are_not_contiguous(tmp_path: Path) -> None:
    turned = torch.arange(12.0).view(3, 4).T
    with Writer(tmp_path / "x", {"a": Entry.of("F32", (4, 3))}) as writer:
        writer.write("a", turned)
    assert torch.equal(load_file(tmp_path / "x")["a"], turned)


def test_a_tensor_that_is_not_whole_is_our_mistake(tmp_path: Path) -> None:
    with (
        pytest.raises(AssertionError, match="a was not written whole"),
        Writer(tmp_path / "x", {"a": Entry.of("F32", (4, 3))}) as writer,
    ):
        writer.write("a", torch.zeros(3, 3))


def test_our_own_reader_takes_it(e2b: Path, tmp_path: Path) -> None:
    write(tmp_path / "model.safetensors", tensors())
    (tmp_path / "config.json").write_bytes((e2b / "config.json").read_bytes())
    found = Checkpoint(tmp_path).tensors
    assert {name: info.shape for name, info in found.items()} == {k: tuple(v.shape) for k, v in tensors().items()}


# --- the folder


def left(parent: Path) -> list[str]:
    return sorted(path.name for path in parent.iterdir())


def test_it_gets_its_name_when_it_is_whole(tmp_path: Path) -> None:
    with new_folder(tmp_path / "out", 10) as part:
        write_file(part / "a.json", b"{}")
        assert not (tmp_path / "out").exists()
        assert left(tmp_path) == [part.name]
        assert part.name.startswith("out.part-")
    assert left(tmp_path) == ["out"]
    assert (tmp_path / "out" / "a.json").read_bytes() == b"{}"


def test_an_empty_folder_may_be_there(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    with new_folder(tmp_path / "out", 10) as part:
        write_file(part / "a.json", b"{}")
    assert left(tmp_path / "out") == ["a.json"]


def test_in_the_current_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with new_folder(Path("out"), 10):
        pass
    assert left(tmp_path) == ["out"]


def fail(out: Path, error: BaseException, size: int = 10) -> None:
    """Begins a folder, and fails."""
    with new_folder(out, size) as part:
        write_file(part / "a.json", b"{}")
        raise error


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError, AuricleError])
def test_what_fails_leaves_nothing(tmp_path: Path, error: type[BaseException]) -> None:
    with pytest.raises(error):
        fail(tmp_path / "out", error())
    assert left(tmp_path) == []


@pytest.mark.parametrize("number", [errno.ENOSPC, errno.EDQUOT])
def test_a_disk_that_fills_up_says_how_much_is_needed(tmp_path: Path, number: int) -> None:
    with pytest.raises(AuricleError, match=r"too full: 0\.12 GB \(123456789 bytes\) are needed; nothing") as caught:
        fail(tmp_path / "out", OSError(number, "no space left"), size=123_456_789)
    assert caught.value.exit_status == 1
    assert left(tmp_path) == []


def test_another_failure_of_the_disk(tmp_path: Path) -> None:
    with pytest.raises(AuricleError, match=r"out can't be written \(Input/output error\); nothing was left there"):
        fail(tmp_path / "out", OSError(errno.EIO, "Input/output error"))
    assert left(tmp_path) == []


def test_a_disk_without_room_is_told_before_anything_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module.shutil, "disk_usage", lambda path: SimpleNamespace(free=5_000_000_000))
    with pytest.raises(AuricleError, match=r"6\.00 GB \(6000000000 bytes\) are needed, 5\.00 GB are free"):
        fail(tmp_path / "out", AssertionError("not to be reached"), size=6_000_000_000)
    assert left(tmp_path) == []


def test_the_folder_one_stands_in_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(OptionError, match="name a new folder"), new_folder(Path(), 10):
        pass


def test_what_is_there_is_never_touched(tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "precious").write_text("x")
    (tmp_path / "file").write_text("x")
    for name, said in (("full", "is there and not empty"), ("file", "is a file"), ("no/such", "there is no folder")):
        with pytest.raises(OptionError, match=said):
            fail(tmp_path / name, AssertionError("not to be reached"))
    assert left(tmp_path) == ["file", "full"]
    assert (tmp_path / "full" / "precious").read_text() == "x"


@pytest.mark.skipif(not hasattr(module.os, "geteuid") or module.os.geteuid() == 0, reason="root may write anywhere")
def test_a_folder_that_may_not_be_written_to(tmp_path: Path) -> None:
    tmp_path.chmod(0o500)
    try:
        with pytest.raises(AuricleError, match="can't be written"):
            fail(tmp_path / "out", AssertionError("not to be reached"))
    finally:
        tmp_path.chmod(0o700)
