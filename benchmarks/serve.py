"""Requests a second of `auricle serve` with `tiny`, 32 clients at once, against serving one request at a time.

    python -m benchmarks.serve

Every client asks anew as soon as its answer is there, in a stream, over one connection. The servers take turns. One at
a time is our own server with `--max-running 1`: the same code, which computes one answer after another.

Three kinds of requests: a question about a sentence that nobody has sent before; one of four questions about one of
four sentences, which are in the caches soon; and transcripts of six sentences, one of four such sounds.
"""

from __future__ import annotations

import argparse
import asyncio
import base64
import io
import json
import socket
import subprocess
import sys
import time
import urllib.request
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median
from typing import Any

import numpy as np
import soundfile

from auricle.bench import machine
from auricle.sound.decode import decode

ROOT = Path(__file__).parents[1]
SOUNDS = [decode(ROOT / "examples" / name).samples for name in ("sentence.wav", "question.wav")]
SERVERS = {
    "one at a time": ["--max-running", "1"],
    "one worker": [],
    "two workers": ["--workers", "2", "--threads", "1"],
}
QUESTIONS = ("What does the speaker say?", "What is said?", "Write down what you hear.", "Which words are spoken?")


@dataclass
class Seen:
    """What clients saw of one server."""

    statuses: Counter[int] = field(default_factory=Counter)
    ttft_s: list[float] = field(default_factory=list)
    tokens: int = 0
    faults: int = 0  # answers that broke off


def new_sounds(rng: np.random.Generator) -> dict[str, Any]:
    return _body(_noisy(rng), "What does the speaker say?")


def same_sounds(rng: np.random.Generator) -> dict[str, Any]:
    return _body(_noisy(np.random.default_rng(int(rng.integers(4)))), QUESTIONS[rng.integers(len(QUESTIONS))])


def long_answers(rng: np.random.Generator) -> dict[str, Any]:
    which = np.random.default_rng(int(rng.integers(4)))
    return _body(_noisy(which, sentences=6), "Transcribe the following speech segment in English into English text.")


KINDS: dict[str, Callable[[np.random.Generator], dict[str, Any]]] = {
    "new sounds": new_sounds,
    "same sounds": same_sounds,
    "long answers": long_answers,
}


def _noisy(rng: np.random.Generator, sentences: int = 1) -> bytes:
    """Sentences with a noise of their own at 60 dB below full scale, as a wav file."""
    sound = np.concatenate([SOUNDS[rng.integers(len(SOUNDS))] for _ in range(sentences)])
    file = io.BytesIO()
    soundfile.write(file, sound + 1e-3 * rng.standard_normal(len(sound)), 16_000, format="WAV", subtype="PCM_16")
    return file.getvalue()


def _body(sound: bytes, question: str) -> dict[str, Any]:
    heard = {"type": "input_audio", "input_audio": {"data": base64.b64encode(sound).decode(), "format": "wav"}}
    content = [{"type": "text", "text": question}, heard]
    stream = {"stream": True, "stream_options": {"include_usage": True}, "max_tokens": 80}
    return {"model": "tiny", "messages": [{"role": "user", "content": content}], **stream}


def main() -> None:
    from benchmarks import tables

    options = _parser().parse_args()
    load_average = machine.load_average()
    runs: dict[str, dict[str, list[dict[str, Any]]]] = {}
    for kind in KINDS:
        runs[kind] = {name: [] for name in SERVERS}
        for _ in range(options.rounds):
            for name, flags in SERVERS.items():
                with serving([*flags, "--max-queue", str(options.clients)]) as port:
                    asyncio.run(load(port, KINDS[kind], options.clients, 3.0, seed=1))
                    seen = asyncio.run(load(port, KINDS[kind], options.clients, options.seconds, seed=2))
                runs[kind][name].append(summary(seen, options.seconds))
                print(kind, name, runs[kind][name][-1], flush=True)
    about = machine.describe(2, "cpu")
    about["machine"]["load_average"] = load_average
    result = {
        "benchmark": "serve",
        **about,
        "settings": {name: getattr(options, name) for name in ("clients", "seconds", "rounds")},
        "runs": runs,
        "median": {kind: {name: _median(runs[kind][name]) for name in SERVERS} for kind in KINDS},
    }
    options.results.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print(tables.serve(result))


@contextmanager
def serving(flags: list[str]) -> Iterator[int]:
    """A server in a process of its own -> its port."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-c", "from auricle.cli.main import main; main()", "serve", "--port", str(port), *flags]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        _await(port)
        yield port
    finally:
        server.terminate()
        server.wait(60)


def _await(port: int) -> None:
    for _ in range(300):
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{port}/health", timeout=5):
                return
        except OSError:
            time.sleep(0.1)
    raise RuntimeError("the server was not ready within 30 s")


async def load(
    port: int, kind: Callable[[np.random.Generator], dict[str, Any]], clients: int, seconds: float, seed: int
) -> Seen:
    """So many clients for so long; what was begun is finished."""
    seen, end = Seen(), time.perf_counter() + seconds
    await asyncio.gather(*(_client(port, kind, end, seen, seed * 1000 + number) for number in range(clients)))
    return seen


async def _client(
    port: int, kind: Callable[[np.random.Generator], dict[str, Any]], end: float, seen: Seen, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    while time.perf_counter() < end:
        body = json.dumps(kind(rng)).encode()
        head = "POST /v1/chat/completions HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n"
        begun = time.perf_counter()
        writer.write(head.encode() + f"content-length: {len(body)}\r\n\r\n".encode() + body)
        await writer.drain()
        await _answer(reader, begun, seen)
    writer.close()


async def _answer(reader: asyncio.StreamReader, begun: float, seen: Seen) -> None:
    """Reads one answer to its end."""
    status = int((await reader.readline()).split()[1])
    seen.statuses[status] += 1
    headers = (await reader.readuntil(b"\r\n\r\n")).lower()
    if b"content-length:" in headers:
        await reader.readexactly(int(headers.partition(b"content-length:")[2].split()[0]))
        return
    first, whole = True, False
    while size := int(await reader.readline(), 16):
        data = (await reader.readexactly(size + 2))[:-2]
        if first and b'"content": "' in data and b'"content": ""' not in data:
            seen.ttft_s.append(time.perf_counter() - begun)
            first = False
        if b'"completion_tokens"' in data:
            seen.tokens += int(data.partition(b'"completion_tokens": ')[2].partition(b",")[0])
        whole = whole or b"data: [DONE]" in data
    await reader.readline()
    seen.faults += not whole


def summary(seen: Seen, seconds: float) -> dict[str, Any]:
    """Rates count what was begun in the time; the rest of the last answers is in it too, a second at most."""
    return {
        "requests_per_s": seen.statuses[200] / seconds,
        "tokens_per_s": seen.tokens / seconds,
        "ttft_p50_s": float(np.quantile(seen.ttft_s, 0.5)),
        "ttft_p95_s": float(np.quantile(seen.ttft_s, 0.95)),
        "statuses": {str(status): count for status, count in sorted(seen.statuses.items())},
        "broken_off": seen.faults,
    }


def _median(runs: list[dict[str, Any]]) -> dict[str, float]:
    return {name: median(run[name] for run in runs) for name in runs[0] if name.endswith("_s")}


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--clients", type=int, default=32)
    parser.add_argument("--seconds", type=float, default=60.0)
    parser.add_argument("--rounds", type=int, default=1)
    parser.add_argument("--results", type=Path, default=Path(__file__).parent / "results" / "serve.json")
    return parser


if __name__ == "__main__":
    main()
