"""A study of what `tiny` hears, from nothing and offline: how short and how noisy may speech be?

    python examples/study.py            # some five minutes on two cores; writes into study/
    python examples/study.py --small    # a tenth of the clips

Speech comes from espeak-ng (apt-get install espeak-ng), the other sounds from the few lines below. They are cut to
lengths from 20 to 1000 ms, put into noise, and given to `tiny`, to Silero VAD and to a measure of energy. The decision
threshold of each is chosen on the dev split and applied to the test split; a recording is in one of them as a whole.
Run it again and it goes on where it was broken off.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import soundfile
from numpy.typing import NDArray

RATE = 16_000
SECONDS = 2.0
SYSTEMS = ("tiny", "silero", "energy")
Samples = NDArray[np.float64]

# Voices and words that `tiny` was not trained on: see docs/models/tiny.md.
VOICES = [f"{accent}+{kind}" for kind in ("m4", "f5", "Alicia", "Michael") for accent in ("en-us", "en-gb", "en-029")]
SENTENCES = (
    "Seven boats left the harbour before the fog came down.",
    "Could somebody please turn off the lights in the hall?",
    "My neighbour grows tomatoes behind the garage.",
    "The train to the coast is late again this morning.",
    "They painted every door of the school bright yellow.",
)


def main() -> None:
    """Makes the sounds, degrades them, asks three systems, and draws what came of it."""
    parser = argparse.ArgumentParser(description=str(__doc__).split("\n\n")[0])
    parser.add_argument("--out", type=Path, default=Path("study"))
    parser.add_argument("--small", action="store_true", help="a tenth of the clips")
    args = parser.parse_args()
    if shutil.which("espeak-ng") is None:
        sys.exit("study.py needs espeak-ng, which makes the speech: apt-get install espeak-ng")
    count = 8 if args.small else 24
    sounds = args.out / "sounds"
    speech(sounds / "speech", count)
    others(sounds / "nonspeech", count)

    durations, snrs = ("40,200,1000", "clean,0") if args.small else ("20,40,80,200,500,1000", "clean,-10:15:5")
    auricle(
        *("degrade", sounds, "--out", args.out / "set", "--durations", durations, "--snr", snrs, "--noise", "pink"),
        *("--cut", "loudest", "--level", "-30", "--pad", "noise", "--pad-to", "2000", "--splits", "dev=0.4,test=0.6"),
    )
    runs = []
    for system in SYSTEMS:
        runs.append(args.out / "runs" / system)
        auricle("eval", args.out / "set", "--model", system, "--labels", "speech,nonspeech", "--out", runs[-1])
    auricle("report", *runs, "--decide", "dev", "--out", args.out / "report.html")


def auricle(*words: object) -> None:
    """Runs a command as it is shown."""
    command = ["auricle", *map(str, words)]
    print("$", " ".join(command), flush=True)
    subprocess.run([sys.executable, "-c", "from auricle.cli.main import main; main()", *command[1:]], check=True)


def speech(folder: Path, count: int) -> None:
    """One voice and sentence each."""
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(count):
        voice, sentence = VOICES[number % len(VOICES)], SENTENCES[number % len(SENTENCES)]
        path = folder / f"{number:02}.wav"
        subprocess.run(["espeak-ng", "-v", voice, "-s", str(140 + number), "-w", path, sentence], check=True)


def others(folder: Path, count: int) -> None:
    """Two seconds each of what is no speech."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(0)
    for number in range(count):
        make = KINDS[number % len(KINDS)]
        samples = make(rng)
        name = f"{make.__name__}{number:02}.wav"
        soundfile.write(folder / name, 0.5 * samples / np.abs(samples).max(), RATE, subtype="PCM_16")


def melody(rng: np.random.Generator) -> Samples:
    """Plucked notes."""
    return sum_of(note(rng.uniform(200, 800), start, 6.0, 6) for start in np.arange(0, SECONDS, rng.uniform(0.2, 0.4)))


def siren(rng: np.random.Generator) -> Samples:
    pitch = rng.uniform(500, 900) * (1 + 0.3 * np.sin(2 * np.pi * rng.uniform(0.5, 2) * time()))
    return np.sin(2 * np.pi * np.cumsum(pitch) / RATE)


def bird(rng: np.random.Generator) -> Samples:
    """Short falling whistles."""
    pitch = rng.uniform(2500, 4000) * (1 - 0.3 * (time() * rng.uniform(4, 8) % 1))
    return np.sin(2 * np.pi * np.cumsum(pitch) / RATE) * (np.sin(2 * np.pi * rng.uniform(4, 8) * time()) > 0)


def engine(rng: np.random.Generator) -> Samples:
    """Many harmonics of a low tone, and a rumble."""
    pitch = rng.uniform(40, 90)
    tone = sum_of(np.sin(2 * np.pi * pitch * k * time()) / k for k in range(1, 15))
    return tone + 0.5 * band(rng, 20, 300)


def rain(rng: np.random.Generator) -> Samples:
    return band(rng, 1000, 7000) * (1 + 0.5 * (rng.random(len(time())) > 0.995))


def knocks(rng: np.random.Generator) -> Samples:
    """Decaying bursts of noise."""
    hits = sum_of(np.exp(-60 * np.maximum(time() - at, 0)) * (time() >= at) for at in rng.uniform(0, SECONDS, 8))
    return band(rng, 100, 2000) * hits


def bell(rng: np.random.Generator) -> Samples:
    base = rng.uniform(300, 900)
    return sum_of(note(base * ratio, 0.0, 2.0 * ratio, 1) for ratio in (1, 2.76, 5.4))


KINDS: tuple[Callable[[np.random.Generator], Samples], ...] = (melody, siren, bird, engine, rain, knocks, bell)


def note(pitch: float, start: float, decay: float, harmonics: int) -> Samples:
    """From its start on, dying away."""
    after = np.maximum(time() - start, 0)
    tones = sum_of(np.sin(2 * np.pi * pitch * k * after) / k**2 for k in range(1, harmonics + 1))
    return tones * np.exp(-decay * after)


def band(rng: np.random.Generator, low: float, high: float) -> Samples:
    """Noise between two frequencies."""
    spectrum = np.fft.rfft(rng.standard_normal(len(time())))
    frequencies = np.fft.rfftfreq(len(time()), 1 / RATE)
    spectrum[(frequencies < low) | (frequencies > high)] = 0
    return np.fft.irfft(spectrum, len(time()))


def sum_of(parts: Iterator[Samples]) -> Samples:
    return np.sum(list(parts), axis=0)


def time() -> Samples:
    return np.arange(round(SECONDS * RATE)) / RATE


if __name__ == "__main__":
    main()
