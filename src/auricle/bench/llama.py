"""llama.cpp: its own tools are called, and what they print is read.

A measurement is one call of `llama-mtmd-cli`, which hears the sound and answers, and one of `llama-bench`, which
decodes without a prompt. Both load the model each time, from the file cache; loading counts in none of the figures but
its own. Two things are to its advantage: its mel spectrogram, which comes before anything is printed, isn't counted,
and it decodes without a prompt's keys and values to read.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import tempfile
import threading
import time
from dataclasses import dataclass, fields
from pathlib import Path
from statistics import median
from typing import IO, Any

import numpy as np
import soundfile
from numpy.typing import NDArray

from auricle.bench.engines import QUESTION, RATE, Footprint, Run
from auricle.errors import AuricleError, InputError, OptionError

MARKER = "<__media__>"  # where the sound goes in the prompt: after the question, as ours
CONTEXT = 2048  # tokens; otherwise room is made for all that the model could take, which would count as its memory
VERBOSITY = 4  # at which the library's own times are printed; more than that slows it down

ENCODED = re.compile(r"(?:audio slice encoded|mtmd batch encoding done) in (\d+) ms")
DECODED = re.compile(r"audio decoded \(batch \d+/\d+\) in (\d+) ms")
PROMPT = re.compile(r"prompt eval time\s*=\s*([\d.]+) ms\s*/\s*(\d+) tokens")
READY = "main: loading model"  # which is printed when it is loaded
WATCH_S = 0.05  # between two looks at a process's memory


@dataclass(frozen=True)
class LlamaFiles:
    """llama.cpp's programs, and the model in its format.

    Raises:
        OptionError: one of the four is not given.
        InputError: one is not there.
    """

    llama_bench: Path | None
    llama_mtmd_cli: Path | None
    gguf: Path | None
    mmproj: Path | None  # the audio tower

    def __post_init__(self) -> None:
        flags = {field.name: "--" + field.name.replace("_", "-") for field in fields(self)}
        missing = [flag for name, flag in flags.items() if getattr(self, name) is None]
        if missing:
            raise OptionError(f"--vs llama.cpp needs {', '.join(missing)} too")
        for name, flag in flags.items():
            path = getattr(self, name)
            if not path.is_file():
                raise InputError(f"{flag}: there is no file {path}; check the path")
            if name.startswith("llama_") and not os.access(path, os.X_OK):
                raise InputError(f"{flag}: {path} is not a program that can be run")


@dataclass(frozen=True)
class Heard:
    """What `llama-mtmd-cli` printed of its times, in seconds."""

    encoder_s: float
    prefill_s: float
    prompt_tokens: int


@dataclass(frozen=True)
class Decoding:
    """What `llama-bench` printed."""

    tokens_per_s: float
    version: str
    weights: str  # "gemma4 E2B Q4_0"


@dataclass(frozen=True)
class _Ended:
    """What a program printed, and what it took."""

    output: str
    errors: str
    ready_s: float | None  # from its start to the line that says so
    peak_rss_gb: float | None


class LlamaCpp:
    """A `Contestant`."""

    def __init__(self, files: LlamaFiles, threads: int) -> None:
        self._files, self._threads = files, threads
        self._folder = Path(tempfile.mkdtemp())
        self._version, self._weights = "unknown", "unknown"
        self._load_s: list[float] = []
        self._peak_rss_gb: float | None = None

    def run(self, samples: NDArray[np.float32], tokens: int) -> Run:
        sound = self._folder / "sound.wav"
        soundfile.write(sound, samples, RATE, subtype="PCM_16")
        ended = self._called(self._hearing(sound))
        heard = heard_of(ended.errors)
        if ended.ready_s is not None:
            self._load_s.append(ended.ready_s)
        decoding = decoding_of(self._called(self._decoding(tokens - 1)).output)
        self._version, self._weights = decoding.version, decoding.weights
        return Run(
            mel_s=None,
            encoder_s=heard.encoder_s,
            prefill_s=heard.prefill_s,
            ttft_s=heard.encoder_s + heard.prefill_s,
            decode_tokens_per_s=decoding.tokens_per_s,
            total_s=None,
            prompt_tokens=heard.prompt_tokens,
        )

    def close(self) -> Footprint:
        self.stop()
        load_s = median(self._load_s) if self._load_s else None
        return Footprint(self._version, "cpu", self._weights, load_s, self._peak_rss_gb)

    def stop(self) -> None:
        shutil.rmtree(self._folder, ignore_errors=True)

    def _hearing(self, sound: Path) -> list[str]:
        model = ["-m", str(self._files.gguf), "--mmproj", str(self._files.mmproj)]
        prompt = ["--audio", str(sound), "-p", QUESTION + MARKER, "--jinja"]
        limits = ["-n", "1", "-c", str(CONTEXT), "-t", str(self._threads), "--temp", "0"]
        return [str(self._files.llama_mtmd_cli), *model, *prompt, *limits, "--verbosity", str(VERBOSITY)]

    def _decoding(self, tokens: int) -> list[str]:
        what = ["-p", "0", "-n", str(tokens), "-r", "1", "-o", "json"]
        return [str(self._files.llama_bench), "-m", str(self._files.gguf), "-t", str(self._threads), *what]

    def _called(self, command: list[str]) -> _Ended:
        ended = _run(command)
        if ended.peak_rss_gb is not None:
            self._peak_rss_gb = max(self._peak_rss_gb or 0.0, ended.peak_rss_gb)
        return ended


def heard_of(printed: str) -> Heard:
    """Reads what `llama-mtmd-cli` prints to stderr.

    The library's "prompt eval time" runs from the first token of the prompt to the last, and the sound is encoded in
    between: the encoder's time is part of it, unless it is too short to hold both.

    Raises:
        AuricleError: a line is missing; the message quotes it.
    """
    encoder_s = sum(int(ms) for ms in _found(ENCODED, printed, "mtmd batch encoding done in ... ms")) / 1000
    audio_s = sum(int(ms) for ms in _found(DECODED, printed, "audio decoded (batch 1/1) in ... ms")) / 1000
    milliseconds, tokens = _found(PROMPT, printed, "prompt eval time = ... ms / ... tokens")[-1]
    prompt_s = float(milliseconds) / 1000
    covers_encoder = prompt_s >= encoder_s + audio_s
    return Heard(encoder_s, prompt_s - encoder_s if covers_encoder else prompt_s, int(tokens))


def decoding_of(printed: str) -> Decoding:
    """Reads what `llama-bench -o json` prints to stdout.

    Raises:
        AuricleError: it is not that.
    """
    try:
        (record,) = (record for record in json.loads(printed) if record["n_gen"] and not record["n_prompt"])
        version = f"{record['build_number']} ({record['build_commit']})"
        return Decoding(float(record["avg_ts"]), version, record["model_type"])
    except (ValueError, LookupError, TypeError) as error:
        raise AuricleError(
            f"llama-bench printed no JSON with n_gen, n_prompt, avg_ts, build_number and model_type ({error!r}): "
            f"this version can't be read; it began with {_shortened(printed)!r}"
        ) from error


def _found(line: re.Pattern[str], printed: str, meant: str) -> list[Any]:
    found = line.findall(printed)
    if not found:
        last = printed.strip().splitlines()[-1:] or [""]
        raise AuricleError(
            f"llama-mtmd-cli printed no line like {meant!r}: this version can't be read; "
            f"its last line was {_shortened(last[0])!r}"
        )
    return found


def _shortened(text: str) -> str:
    return text if len(text) <= 80 else text[:80] + "..."


def _run(command: list[str]) -> _Ended:
    """Runs a program to its end, watching its memory.

    Raises:
        InputError: it can't be run, or ended with an error.
    """
    begun = time.perf_counter()
    lines: list[str] = []
    ready: list[float] = []

    def read() -> None:
        for line in process.stderr or ():
            lines.append(line)
            if READY in line:
                ready.append(time.perf_counter() - begun)

    with tempfile.TemporaryFile("w+", errors="replace") as output, _started(command, output) as process:
        reader = threading.Thread(target=read)
        reader.start()
        try:
            peak_rss_gb = _watched(process)
        finally:
            process.kill()
            reader.join()
        output.seek(0)
        ended = _Ended(output.read(), "".join(lines), ready[0] if ready else None, peak_rss_gb)
    if process.returncode:
        reason = next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")
        raise InputError(f"{Path(command[0]).name} ended with exit code {process.returncode}: {reason}")
    return ended


def _started(command: list[str], output: IO[str]) -> subprocess.Popen[str]:
    try:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.PIPE, text=True, errors="replace"
        )
    except OSError as error:
        raise InputError(f"{command[0]} can't be run ({error.strerror}): build it for this machine") from error


def _watched(process: subprocess.Popen[str]) -> float | None:
    """Waits for a process; gives the most memory it held, in GB, where the system tells (Linux)."""
    status, peak = Path(f"/proc/{process.pid}/status"), None
    while process.poll() is None:
        peak = _high_water_gb(status) or peak  # it only ever rises
        time.sleep(WATCH_S)
    return peak


def _high_water_gb(status: Path) -> float | None:
    try:
        found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text())
    except OSError:  # it has just ended, or this is no Linux
        return None
    return int(found[1]) * 1024 / 1e9 if found else None
