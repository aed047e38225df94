"""Melodies with all that is known of them, and the sound that the codec learns from: 32 kHz, mono, float32.

    python -m recipes.audiolm.melodies --out FOLDER --count N --seconds S --seed K

writes N clips as 16-bit wav and `melodies.jsonl`, a line for each. Clip i depends on the seed and i only.
"""

from __future__ import annotations

import argparse
import json
import multiprocessing
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import soundfile
import soxr

from recipes.audiolm import timbres, tunes
from recipes.audiolm.timbres import BASS, INSTRUMENTS, RATE, Samples
from recipes.tiny import instruments as wide

TEMPI = (80.0, 86.0, 92.0, 98.0, 104.0, 112.0, 120.0, 128.0, 138.0, 148.0, 158.0, 170.0)  # quarters a minute
PEAK = 0.7
ACCOMPANIED = 0.3  # part of the melodies
LEGATO = 0.92  # of a note's length is its key down
KINDS = {"melody": 0.65, "chords": 0.15, "percussion": 0.08, "wide": 0.07, "plain": 0.05}  # of the codec's clips


@dataclass(frozen=True)
class Note:
    """A note as it is played; it may outlast the clip."""

    start_s: float
    duration_s: float  # how long the key is down
    midi: int
    velocity: float  # in (0, 1]


@dataclass(frozen=True)
class Melody:
    """A clip and what is played in it."""

    samples: Samples  # (n,) float32 at 32 kHz, peak at most PEAK
    key: int  # pitch class of the tonic, 0 is C
    mode: str  # major or minor
    bpm: float
    instrument: str  # a key of INSTRUMENTS
    notes: tuple[Note, ...]  # of the melody
    bass: tuple[Note, ...]  # of the accompaniment, if there is one
    handed_s: float | None = None  # when another instrument takes the tune over
    second: str | None = None  # that instrument


def _faded(samples: Samples) -> Samples:
    """The first 4 and the last 20 ms ramped, so that a clip begins and ends at zero."""
    for part, size in ((samples, 128), (samples[::-1], 640)):
        size = min(size, len(samples))
        part[:size] *= np.linspace(0, 1, size, dtype=np.float32)
    return samples


def _decibels(rng: np.random.Generator, low: float, high: float) -> float:
    """A factor drawn between two levels in dB."""
    return float(10 ** (rng.uniform(low, high) / 20))


def _play(total: Samples, notes: tuple[Note, ...], timbre: timbres.Timbre, brightness: float, gain: float) -> None:
    """Add notes to `total` (n,) in place."""
    known: dict[tuple[int, float], Samples] = {}  # motifs repeat, and a note is the same each time
    for note in notes:
        what = (note.midi, round(note.duration_s, 6))
        if what not in known:
            known[what] = timbres.render(timbre, note.midi, note.duration_s, brightness)
        first = round(note.start_s * RATE)
        samples = known[what][: max(len(total) - first, 0)]
        total[first : first + len(samples)] += np.float32(gain * note.velocity) * samples


def _velocity(start: int) -> float:
    """By the place in the bar, in eighths: the first beat, the other beats, between them."""
    return 1.0 if start == 0 else 0.8 if start % 2 == 0 else 0.65


def melody(rng: np.random.Generator, seconds: float, *, handed: bool = False) -> Melody:
    """A clip from anywhere in a tune, which goes round as long as the clip does.

    With `handed`, another instrument takes over at an eighth between a quarter and a half of the clip.
    """
    key, mode = int(rng.integers(12)), str(rng.choice(("major", "minor")))
    bpm = float(rng.choice(TEMPI))
    instrument = str(rng.choice(list(INSTRUMENTS)))
    brightness = float(rng.uniform(-0.1, 0.1))
    bars = tunes.tune(rng)
    eighth = 30 / bpm
    # The tune starts at an eighth, as no note should lack its beginning, but the clip a little earlier: where the
    # beat falls must not be known from the clip's first sample.
    skipped = int(rng.integers(len(bars) * tunes.EIGHTHS))
    lead = float(rng.uniform(0, eighth))
    accompanied, fifth = rng.random() < ACCOMPANIED, rng.random() < 0.5
    notes, bass = [], []
    number = skipped // tunes.EIGHTHS
    while (begin := lead + (number * tunes.EIGHTHS - skipped) * eighth) < seconds:
        bar = bars[number % len(bars)]
        for event in bar:
            start = begin + event.start * eighth
            if lead <= start + 1e-9 and start < seconds:
                midi = 60 + key + tunes.semitones(event.degree, mode)
                notes.append(Note(max(start, 0.0), event.length * eighth * LEGATO, midi, _velocity(event.start)))
        if accompanied and lead <= begin + 1e-9:
            low = 40 + (key + tunes.semitones(tunes.root(bar), mode) - 40) % 12
            for midi in (low, low + 7) if fifth else (low,):
                bass.append(Note(max(begin, 0.0), tunes.EIGHTHS * eighth * LEGATO, midi, 0.8))
        number += 1
    total = np.zeros(round(seconds * RATE), np.float32)
    peak = PEAK * _decibels(rng, -6, 0)
    handed_s, second = None, None
    if handed:
        handed_s = lead + eighth * round((float(rng.uniform(0.25, 0.5)) * seconds - lead) / eighth)
        second = str(rng.choice([name for name in INSTRUMENTS if name != instrument]))
    until = seconds if handed_s is None else handed_s - 1e-6
    _play(total, tuple(note for note in notes if note.start_s < until), INSTRUMENTS[instrument], brightness, 1.0)
    if second is not None:
        # As loud as the first one: instruments differ much, and a jump would drown one of them.
        other = np.zeros_like(total)
        _play(other, tuple(note for note in notes if note.start_s >= until), INSTRUMENTS[second], brightness, 1.0)
        total = wide.scaled(total, PEAK) + wide.scaled(other, PEAK)
    _play(total, tuple(bass), BASS, 0.0, 0.3 if fifth else 0.45)
    return Melody(
        _faded(wide.scaled(total, peak)), key, mode, bpm, instrument, tuple(notes), tuple(bass), handed_s, second
    )


# ---- what else the codec hears


def _chords(rng: np.random.Generator, seconds: float) -> Samples:
    """Two to four notes at once, of one instrument or of several, one chord after the other."""
    total = np.zeros(round(seconds * RATE), np.float32)
    names = list(INSTRUMENTS)
    same = [str(rng.choice(names))] * 4 if rng.random() < 0.7 else [str(name) for name in rng.choice(names, 4)]
    length = float(rng.uniform(0.3, 1.6))
    arpeggio = float(rng.uniform(0.05, 0.2)) if rng.random() < 0.3 else 0.0
    start = float(rng.uniform(0, 0.2))
    while start < seconds:
        base = int(rng.integers(43, 68))
        intervals = sorted(rng.choice((0, 3, 4, 7, 9, 12, 16, 19), int(rng.integers(2, 5)), replace=False).tolist())
        for i, interval in enumerate(intervals):
            note = Note(start + i * arpeggio, length * LEGATO, base + interval, float(rng.uniform(0.6, 1)))
            _play(total, (note,), INSTRUMENTS[same[i]], 0.0, 1.0)
        start += length
    return total


def _hit(rng: np.random.Generator, drum: str) -> Samples:
    """A kick, a snare or a hat, (n,), peak about 1."""
    seconds = {"kick": 0.3, "snare": 0.2, "hat": 0.08}[drum]
    t = np.arange(int(seconds * RATE)) / RATE
    fade = np.clip((seconds - t) / 0.01, 0, 1)
    if drum == "kick":
        # 50 Hz and a fall from 180 Hz above it, integrated.
        turn = 2 * np.pi * (50 * t + 180 / 30 * (1 - np.exp(-30 * t)))
        return np.sin(turn) * np.exp(-10 * t) * fade
    noise = rng.normal(0, 0.35, len(t))
    if drum == "snare":
        return (noise * np.exp(-18 * t) + 0.5 * np.sin(2 * np.pi * 190 * t) * np.exp(-25 * t)) * fade
    return np.diff(noise, prepend=0.0) * np.exp(-50 * t) * fade


def _percussion(rng: np.random.Generator, seconds: float) -> Samples:
    """A loop of one bar on a grid of eighths, over nothing or over a melody."""
    total = np.zeros(round(seconds * RATE), np.float32)
    eighth = 30 / float(rng.choice(TEMPI))
    pattern = {
        "kick": rng.random(8) < (0.9, 0.1, 0.1, 0.2, 0.7, 0.1, 0.2, 0.1),
        "snare": rng.random(8) < (0, 0.05, 0.8, 0.05, 0, 0.05, 0.8, 0.2),
        "hat": np.ones(8, bool) if rng.random() < 0.5 else rng.random(8) < 0.5,
    }
    hits = {drum: _hit(rng, drum) * level for drum, level in (("kick", 1.0), ("snare", 0.7), ("hat", 0.35))}
    for i in range(int(seconds / eighth) + 1):
        for drum, places in pattern.items():
            if places[i % 8]:
                first = round(i * eighth * RATE)
                samples = hits[drum][: max(len(total) - first, 0)]
                total[first : first + len(samples)] += samples
    if rng.random() < 0.4:
        total += melody(rng, seconds).samples * np.float32(rng.uniform(0.3, 1.5))
    return total


def _wide(rng: np.random.Generator, seconds: float) -> Samples:
    """Notes of one of tiny's instruments, whose parameters vary widely; those are made at 16 kHz."""
    total = np.zeros(round(seconds * wide.RATE), np.float32)
    instrument = wide.INSTRUMENTS[str(rng.choice(list(wide.INSTRUMENTS)))]
    start = float(rng.uniform(0, 0.3))
    while start < seconds:
        frequency = float(np.exp(rng.uniform(np.log(instrument.low), np.log(instrument.high))))
        length = float(rng.uniform(0.15, 1.2))
        first = int(start * wide.RATE)
        samples = instrument.note(rng, frequency, length, float(rng.uniform(0.4, 1)))[: max(len(total) - first, 0)]
        total[first : first + len(samples)] += samples
        start += length
    total = soxr.resample(total, wide.RATE, RATE)
    return np.pad(total, (0, max(round(seconds * RATE) - len(total), 0)))[: round(seconds * RATE)]


def _plain(rng: np.random.Generator, seconds: float) -> Samples:
    """A sweep, noise of some colour, silence or clicks."""
    count = round(seconds * RATE)
    kind = str(rng.choice(("sweep", "noise", "silence", "clicks"), p=(0.35, 0.35, 0.1, 0.2)))
    if kind == "sweep":
        low, high = rng.uniform(np.log(40), np.log(14000), 2)
        return np.sin(2 * np.pi * np.cumsum(np.exp(np.linspace(low, high, count))) / RATE)
    if kind == "noise":
        bins = np.fft.rfftfreq(count, 1 / RATE)
        spectrum = np.fft.rfft(rng.normal(0, 1, count)) * np.maximum(bins, 20) ** -rng.uniform(0, 1)  # white to brown
        return np.fft.irfft(spectrum, count)
    total = np.zeros(count)
    if kind == "clicks":
        places = rng.integers(0, count, max(int(seconds * rng.uniform(1, 20)), 1))
        total[places] = rng.uniform(-1, 1, len(places))
    return total


_MAKERS: dict[str, Callable[[np.random.Generator, float], Samples]] = {
    "melody": lambda rng, seconds: melody(rng, seconds).samples,
    "chords": _chords,
    "percussion": _percussion,
    "wide": _wide,
    "plain": _plain,
}


def codec_clip(rng: np.random.Generator, seconds: float) -> Samples:
    """A clip of any kind by the shares of KINDS, (round(seconds * RATE),) float32, its peak from -20 to 0 dBFS."""
    kind = str(rng.choice(list(KINDS), p=list(KINDS.values())))
    return _faded(wide.scaled(_MAKERS[kind](rng, seconds), _decibels(rng, -20, 0)))


# ---- a folder of melodies


def _written(i: int, folder: Path, seconds: float, seed: int, handed: float) -> str:
    """Write clip i, give its line."""
    two = bool(np.random.default_rng((seed, i, 1)).random() < handed)
    made = melody(np.random.default_rng((seed, i)), seconds, handed=two)
    name = f"{i:06d}.wav"
    soundfile.write(folder / name, made.samples, RATE, subtype="PCM_16")
    names = ("key", "mode", "bpm", "instrument", "handed_s", "second")
    known = {name: getattr(made, name) for name in names}
    played = {part: [asdict(note) for note in getattr(made, part)] for part in ("notes", "bass")}
    return json.dumps({"file": name, **known, **played})


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--count", type=int, default=100)
    parser.add_argument("--seconds", type=float, default=10)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--handed", type=float, default=0.0, help="share of clips that a second instrument goes on")
    a = parser.parse_args()
    a.out.mkdir(parents=True, exist_ok=True)
    write = partial(_written, folder=a.out, seconds=a.seconds, seed=a.seed, handed=a.handed)
    with multiprocessing.Pool(2) as pool, (a.out / "melodies.jsonl").open("w") as lines:
        for done, line in enumerate(pool.imap(write, range(a.count), chunksize=8), start=1):
            lines.write(line + "\n")
            if done % 100 == 0 or done == a.count:
                print(f"{done} of {a.count} melodies", flush=True)


if __name__ == "__main__":
    main()
