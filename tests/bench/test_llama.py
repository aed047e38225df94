"""llama.cpp: what its programs print is read, or said to be unreadable; they are called as they want to be called."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import numpy as np
import pytest
import soundfile

from auricle.bench.engines import RATE
from auricle.bench.llama import Decoding, LlamaCpp, LlamaFiles, decoding_of, heard_of
from auricle.errors import AuricleError, InputError, OptionError

# As printed on 30 s of sound, in the middle shortened.
HEARD = """\
0.00.015.405 I load_hparams: audio_hop_len:      160
0.02.386.504 W init_audio: audio input is in experimental stage and may have reduced quality:
    https://github.com/ggml-org/llama.cpp/discussions/13759
0.02.399.896 I main: loading model: e2b-Q4_0.gguf
0.02.401.279 W WARN: This is an experimental CLI for testing multimodal capability.
0.02.695.384 I encoding mtmd batch, n_chunks = 1 (done = 1, total = 3)
0.03.973.587 I mtmd batch encoding done in 1278 ms
0.03.973.682 I decoding audio batch 1/1, n_tokens_batch = 750
0.10.182.491 I audio decoded (batch 1/1) in 6209 ms
0.10.284.738 I llama_perf_context_print:        load time =     827.11 ms
0.10.284.760 I llama_perf_context_print: prompt eval time =    7883.41 ms /   770 tokens (   10.24 ms per token, ...)
0.10.284.773 I llama_perf_context_print:        eval time =      44.51 ms /     1 runs   (   44.52 ms per token, ...)
0.10.284.786 I llama_perf_context_print:       total time =    7968.29 ms /   771 tokens
"""
OLDER = """\
encoding audio slice...
audio slice encoded in 2060 ms
decoding audio batch 1/2, n_tokens_batch = 512
audio decoded (batch 1/2) in 8000 ms
decoding audio batch 2/2, n_tokens_batch = 238
audio decoded (batch 2/2) in 4000 ms
llama_perf_context_print: prompt eval time =   12300.00 ms /   770 tokens (   15.97 ms per token, 62.60 tokens per s)
"""
BENCH = [
    {
        "build_commit": "0c1e570",
        "build_number": 1,
        "model_type": "gemma4 E2B Q4_0",
        "n_prompt": 0,
        "n_gen": 32,
        "avg_ts": 22.459430,
        "samples_ts": [22.4594],
    }
]


def test_the_encoders_time_is_taken_out_of_the_prompts() -> None:
    heard = heard_of(HEARD)
    assert heard.encoder_s == 1.278
    assert heard.prefill_s == pytest.approx(7.88341 - 1.278)
    assert heard.prompt_tokens == 770


def test_where_the_prompts_time_is_without_the_encoders_it_stays() -> None:
    heard = heard_of(OLDER)
    assert (heard.encoder_s, heard.prefill_s) == (2.06, 12.3)


@pytest.mark.parametrize(
    ("without", "told"),
    [
        ("encoding done", "mtmd batch encoding done in ... ms"),
        ("audio decoded", "audio decoded"),
        ("prompt eval", "prompt eval"),
    ],
)
def test_a_missing_line_is_named(without: str, told: str) -> None:
    printed = "\n".join(line for line in HEARD.splitlines() if without not in line)
    with pytest.raises(AuricleError, match=rf"printed no line like '{told}.*its last line was '0\.10"):
        heard_of(printed)


def test_bench_is_read() -> None:
    assert decoding_of(json.dumps(BENCH)) == Decoding(22.459430, "1 (0c1e570)", "gemma4 E2B Q4_0")


@pytest.mark.parametrize("printed", ["", "| model | t/s |", "[]", "{}", json.dumps([{"n_gen": 32, "n_prompt": 0}])])
def test_bench_that_cannot_be_read(printed: str) -> None:
    with pytest.raises(AuricleError, match="this version can't be read"):
        decoding_of(printed)


@pytest.fixture
def files(tmp_path: Path) -> LlamaFiles:
    """Programs that print the above, and write down how they were called."""
    for name, to, text in (("mtmd", "stderr", HEARD), ("bench", "stdout", json.dumps(BENCH))):
        program = tmp_path / name
        program.write_text(
            f"#!{sys.executable}\nimport pathlib, sys\n"
            f"pathlib.Path({str(program)!r} + '.called').write_text('\\n'.join(sys.argv[1:]))\n"
            f"print({text!r}, file=sys.{to})\n"
        )
        program.chmod(0o755)
    for name in ("model.gguf", "mmproj.gguf"):
        (tmp_path / name).write_bytes(b"GGUF")
    return LlamaFiles(tmp_path / "bench", tmp_path / "mtmd", tmp_path / "model.gguf", tmp_path / "mmproj.gguf")


def test_a_run(files: LlamaFiles, tmp_path: Path) -> None:
    llama = LlamaCpp(files, threads=3)
    run = llama.run(np.zeros(RATE, np.float32), 33)
    assert run.ttft_s == run.encoder_s + run.prefill_s == pytest.approx(7.88341)
    assert (run.decode_tokens_per_s, run.prompt_tokens, run.mel_s, run.total_s) == (22.459430, 770, None, None)
    called = (tmp_path / "mtmd.called").read_text().splitlines()
    assert called[called.index("-t") + 1] == "3"
    assert called[called.index("-p") + 1].endswith("<__media__>")
    called = (tmp_path / "bench.called").read_text().splitlines()
    assert (called[called.index("-n") + 1], called[called.index("-t") + 1]) == ("32", "3")
    footprint = llama.close()
    assert (footprint.version, footprint.dtype) == ("1 (0c1e570)", "gemma4 E2B Q4_0")
    assert footprint.load_s is not None
    assert 0 < footprint.load_s < 60
    assert not llama._folder.exists()


def test_the_sound_is_a_file_that_it_reads(files: LlamaFiles, tmp_path: Path) -> None:
    llama = LlamaCpp(files, threads=1)
    samples = np.linspace(-0.5, 0.5, RATE, dtype=np.float32)
    llama.run(samples, 2)
    called = (tmp_path / "mtmd.called").read_text().splitlines()
    written, rate = soundfile.read(called[called.index("--audio") + 1], dtype="float32")
    assert rate == RATE
    assert np.abs(written - samples).max() < 1e-4
    llama.stop()


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="only Linux tells the memory of others")
def test_its_memory_is_watched(files: LlamaFiles) -> None:
    assert files.llama_mtmd_cli is not None
    program = files.llama_mtmd_cli.read_text()
    files.llama_mtmd_cli.write_text(program + "held = b'x' * 200_000_000\nimport time\ntime.sleep(0.3)\n")
    llama = LlamaCpp(files, threads=1)
    llama.run(np.zeros(RATE, np.float32), 2)
    peak = llama.close().peak_rss_gb
    assert peak is not None
    assert 0.2 < peak < 0.3


def test_a_program_that_fails_says_why(files: LlamaFiles) -> None:
    assert files.llama_bench is not None
    files.llama_bench.write_text(
        f"#!{sys.executable}\nimport sys\nprint('no such model', file=sys.stderr)\nsys.exit(3)\n"
    )
    with pytest.raises(InputError, match="bench ended with exit code 3: no such model"):
        LlamaCpp(files, threads=1).run(np.zeros(RATE, np.float32), 2)


def test_a_program_that_the_system_cannot_run(files: LlamaFiles) -> None:
    assert files.llama_bench is not None
    files.llama_bench.write_bytes(b"\x7fELF but not really")
    with pytest.raises(InputError, match="bench can't be run"):
        LlamaCpp(files, threads=1).run(np.zeros(RATE, np.float32), 2)


def test_files_that_are_missing(tmp_path: Path, files: LlamaFiles) -> None:
    with pytest.raises(OptionError, match=r"--vs llama.cpp needs --llama-mtmd-cli, --mmproj too"):
        LlamaFiles(files.llama_bench, None, files.gguf, None)
    with pytest.raises(InputError, match=rf"--gguf: there is no file {tmp_path}/none.gguf"):
        LlamaFiles(files.llama_bench, files.llama_mtmd_cli, tmp_path / "none.gguf", files.mmproj)
    with pytest.raises(InputError, match=r"--llama-bench: .*model.gguf is not a program that can be run"):
        LlamaFiles(files.gguf, files.llama_mtmd_cli, files.gguf, files.mmproj)
