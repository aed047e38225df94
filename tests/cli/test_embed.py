"""`auricle embed`: tables, JSON, folders of vectors, pictures, bad input, and the example that stands on it."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from matplotlib import image

import auricle as library
from auricle.represent import open_embeddings
from auricle.represent.plot import Drawn, draw
from tests.cli.conftest import Run
from tests.sound.making import RATE, tone, written

ROOT = Path(__file__).parents[2]


@pytest.fixture
def folders(tmp_path: Path) -> Path:
    """Low tones in one folder, high ones in another."""
    for name, hertz in (("low", 200), ("high", 2000)):
        (tmp_path / "clips" / name).mkdir(parents=True)
        for i in range(3):
            sound = written(tone(hertz + 10 * i, 0.6 + 0.1 * i), RATE, "WAV", "PCM_16")
            (tmp_path / "clips" / name / f"{i}.wav").write_bytes(sound)
    return tmp_path / "clips"


def test_without_a_folder_there_is_a_table(auricle: Run, e2b: Path, sounds: Path) -> None:
    done = auricle("embed", sounds / "tone.wav", sounds / "noise.wav", "--model", e2b)
    title, header, tone_row, _, *rest = done.out.splitlines()
    assert (done.status, done.err, rest) == (0, "", [""])
    assert title == f"# encoder of {e2b}"
    assert header.split() == ["sound", "seconds", "layers", "vectors", "width", "from", "to"]
    expected = library.load(str(e2b)).embed(sounds / "tone.wav")
    width = str(expected.vectors.shape[2])
    assert tone_row.split() == [str(sounds / "tone.wav"), "1", "2", str(len(expected.kinds)), width, "0", "1"]


def test_json_has_the_vectors_a_sound_a_line(auricle: Run, e2b: Path, sounds: Path) -> None:
    options = ("--stage", "llm", "--layers", "0,-1", "--tokens", "text", "--prompt", "Well?", "--order", "audio-first")
    done = auricle("embed", sounds / "tone.wav", sounds / "noise.wav", "--model", e2b, "--json", *options)
    tone_record, noise_record = done.json_lines
    model = library.load(str(e2b))
    expected = model.embed(
        sounds / "tone.wav", stage="llm", layers="0,-1", tokens="text", prompt="Well?", order="audio-first"
    )
    np.testing.assert_allclose(tone_record["vectors"], expected.vectors, atol=1e-5)
    assert tone_record["layers"] == list(expected.layers)
    assert tone_record["start_s"] == [None] * len(expected.kinds)  # text has no time
    assert (noise_record["source"], noise_record["seconds"]) == (str(sounds / "noise.wav"), 0.5)
    assert tone_record["revision"] == model.revision


def test_a_folder_is_written_and_gone_on_with(auricle: Run, e2b: Path, folders: Path, tmp_path: Path) -> None:
    out = tmp_path / "vectors"
    options = ("--pooling", "mean", "--precision", "float16", "--format", "npz", "--shard-items", 4)
    done = auricle("embed", folders, "--model", e2b, "--out", out, *options)
    assert (done.status, done.out, done.err) == (0, f"6 vectors of 6 sounds in 2 shards: {out}\n", "")
    one = auricle("embed", folders / "low" / "0.wav", "--model", e2b, "--out", tmp_path / "one", *options)
    assert one.out == f"1 vector of 1 sound in 1 shard: {tmp_path / 'one'}\n"
    found = open_embeddings(out)
    assert found.vectors().dtype == np.float16
    assert found.index.column("kind").to_pylist() == ["audio"] * 6
    record = auricle("embed", folders, "--model", e2b, "--out", out, *options, "--json").json
    assert (record["items"], record["vectors"], record["shards"], record["computed"], record["failures"]) == (
        6, 6, 2, 0, 0,
    )  # fmt: skip


def test_unreadable_files_are_counted_and_strict_stops(auricle: Run, e2b: Path, folders: Path, tmp_path: Path) -> None:
    (folders / "bad.wav").write_bytes(b"no sound")
    done = auricle("embed", folders, "--model", e2b, "--out", tmp_path / "out")
    assert done.status == 2
    assert done.err == f"auricle: 1 of 7 sounds could not be read; {tmp_path / 'out' / 'failures.jsonl'} says why\n"
    strict = auricle("embed", folders, "--model", e2b, "--out", tmp_path / "strict", "--strict")
    assert strict.status == 2
    assert strict.err.startswith(f"auricle: {folders / 'bad.wav'} is no sound that can be decoded")
    shown = auricle("embed", folders, "--model", e2b)
    assert (shown.status, len(shown.out.splitlines())) == (2, 9)
    assert "bad.wav is no sound" in shown.err


def test_pictures_show_moments_of_one_or_two_and_places_of_many(
    auricle: Run, e2b: Path, folders: Path, tmp_path: Path
) -> None:
    low, high = folders / "low" / "0.wav", folders / "high" / "2.wav"
    for sounds, told in (
        ([low], "the similarity of 15 by 15 moments"),
        ([low, high], "the similarity of 15 by 20 moments"),
        ([folders], "a projection of 6 clips"),
    ):
        picture = tmp_path / f"{len(told)}.png"
        done = auricle("embed", *sounds, "--model", e2b, "--plot", picture)
        assert (done.status, done.err) == (0, f"note: {picture} shows {told}\n")
        assert image.imread(picture).std() > 0.05  # something is drawn
    picture = tmp_path / "written.png"
    done = auricle("embed", folders, "--model", e2b, "--out", tmp_path / "out", "--plot", picture)
    assert "shows a projection of 6 clips" in done.err
    np.testing.assert_allclose(image.imread(picture), image.imread(tmp_path / "23.png"), atol=0.3)


def test_a_picture_has_each_window_where_it_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The last window of a sound is shorter than the others."""
    from matplotlib.axes import Axes

    drawn: list[tuple[Any, ...]] = []
    plain = Axes.pcolormesh

    def kept(self: Axes, *arguments: Any, **options: Any) -> Any:
        drawn.append(arguments)
        return plain(self, *arguments, **options)

    monkeypatch.setattr(Axes, "pcolormesh", kept)
    across, down = (
        Drawn(name, "", 1, np.eye(4)[1:][: len(edges) - 1], np.array(edges))
        for name, edges in (("a", [0, 1, 2, 2.5]), ("b", [0.5, 1.5, 1.6]))
    )
    draw([down, across], tmp_path / "x.PNG")
    right_s, down_s, cosines = drawn[0]  # the colour bar is another
    assert (right_s.tolist(), down_s.tolist(), cosines.shape) == ([0, 1, 2, 2.5], [0.5, 1.5, 1.6], (2, 3))
    assert [path.name for path in tmp_path.iterdir()] == ["x.PNG"]


def test_bad_input(refused: Any, e2b: Path, sounds: Path, tmp_path: Path) -> None:
    tone = sounds / "tone.wav"
    model = ("--model", e2b)
    assert "there is no layer 7: stage 'encoder' has layers 0 to 2" in refused("embed", tone, *model, "--layers", 7)
    assert "tokens is 'text', and stage 'encoder' has audio alone" in refused("embed", tone, "--tokens", "text")
    assert "pooling is 'sum'" in refused("embed", tone, "--pooling", "sum")
    assert "dtype is 'int8'" in refused("embed", tone, "--precision", "int8")
    assert "no sound given" in refused("embed")
    assert "list all sounds in one of the two" in refused("embed", tone, "--manifest", "x.txt")
    assert "cluster is given without out" in refused("embed", tone, "--cluster", "local")
    assert "shard_items is 0" in refused("embed", tone, *model, "--out", tmp_path, "--shard-items", 0)
    assert "its name must end in .png, .svg, .pdf" in refused("embed", tone, *model, "--plot", "x.gif")
    assert "has no vectors over time to draw" in refused(
        "embed", tone, *model, "--pooling", "mean", "--plot", tmp_path / "x.png"
    )
    assert "workers is 2, and cluster is not given" in refused("embed", tone, "--out", tmp_path, "--workers", 2)
    assert "openai:x runs on a server, which can't be looked into" in refused("embed", tone, "--model", "openai:x")
    memmap = ("--out", tmp_path, "--format", "memmap", "--cluster", "local")
    assert "format is memmap, one file that many machines" in refused("embed", tone, *model, *memmap)


def test_the_example_finds_the_clips_that_sound_alike(
    folders: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(ROOT / "examples" / "sentence.wav", folders / "sentence.wav")
    monkeypatch.setattr("sys.argv", ["nearest.py", str(folders)])
    runpy.run_path(str(ROOT / "examples" / "nearest.py"), run_name="__main__")
    lines = dict(line.split(": ") for line in capsys.readouterr().out.splitlines())
    assert len(lines) == 7
    assert {lines[f"low/{i}.wav"].split()[0][:4] for i in range(3)} == {"low/"}
    assert {lines[f"high/{i}.wav"].split()[0][:5] for i in range(3)} == {"high/"}
    assert (folders / ".vectors" / "index.parquet").is_file()
