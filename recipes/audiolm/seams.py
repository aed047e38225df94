"""What happens where an original meets what a codec says: clicks, levels, and codes at an edge. For docs/continue.md.

    python -m recipes.audiolm.seams --count 100

Melodies are cut at random frames, and the codes after the cut are those of the whole melody: what is measured is the
seam alone, not a model. A click is told by the third difference of the samples: its largest value in the fade and 3 ms
to either side, over the 95th percentile of such stretches in the 0.4 s around it. A note that begins there looks the
same: where the original or the decoded sound is rougher there than around, that is what it is measured against.
"""

from __future__ import annotations

import argparse
from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import NamedTuple

import numpy as np

from auricle.audiolm.codecs import Codec, load_codec
from auricle.audiolm.making.edges import onward
from auricle.audiolm.making.source import EDGE
from recipes.audiolm.melodies import melody

SEED = 77
SECONDS = 6.0
FADES_MS = (0, 5, 10, 20, 30, 40, 80)
AROUND_S, STRETCH_S = 0.4, 0.003


class Cut(NamedTuple):
    """A melody, what the codec makes of it, and where it is cut."""

    samples: np.ndarray
    codes: np.ndarray
    decoded: np.ndarray
    frame: int


def cuts(codec: Codec, count: int) -> Iterator[Cut]:
    """Melodies that sound where they are cut."""
    number = found = 0
    while found < count:
        rng = np.random.default_rng((SEED, number))
        samples = melody(rng, SECONDS).samples
        frame = int(rng.integers(100, 200))
        number += 1
        if np.abs(samples[frame * codec.frame - 960 : frame * codec.frame]).max() > 0.01:
            codes = codec.encode(samples)
            found += 1
            yield Cut(samples, codes, codec.decode(codes)[: len(samples)], frame)


SHARES: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    "linear": lambda t: (1 - t, t),
    "equal power": lambda t: (np.cos(t * np.pi / 2), np.sin(t * np.pi / 2)),
}


def faded(cut: Cut, at: int, length: int, kind: str) -> np.ndarray:
    """The original up to a sample, then what was decoded; the fade is before it."""
    before, after = cut.samples[:at].copy(), cut.decoded[at:]
    out, in_ = SHARES[kind]((np.arange(length) + 0.5) / max(length, 1))
    first = at - length
    before[first:] = before[first:] * out + cut.decoded[first:at] * in_
    return np.concatenate([before, after])


def click(made: np.ndarray, others: tuple[np.ndarray, ...], first: int, end: int, rate: int) -> float:
    """How much rougher it is there than around, and than either of the sounds that meet there."""
    around, stretch = round(AROUND_S * rate), round(STRETCH_S * rate)
    here = slice(around // stretch - 1, (around + end - first) // stretch + 2)

    def peaks(samples: np.ndarray) -> np.ndarray:
        rough = np.abs(np.diff(samples[first - around : end + around].astype(np.float64), 3))
        found: np.ndarray = rough[: len(rough) // stretch * stretch].reshape(-1, stretch).max(1)
        return found

    usual = np.percentile(np.delete(peaks(made), here), 95)
    return float(peaks(made)[here].max() / max(usual, *(peaks(other)[here].max() for other in others)))


def level(cut: Cut, made: np.ndarray, at: int, length: int) -> float:
    """Of the middle third of a fade, in dB over the mean of the two."""
    middle = slice(at - length + length // 3, at - length // 3)
    power = [float(np.square(one[middle], dtype=np.float64).mean()) for one in (made, cut.samples, cut.decoded)]
    return 10 * np.log10(max(power[0], 1e-12) / max((power[1] + power[2]) / 2, 1e-12))


def fades(codec: Codec, found: list[Cut]) -> None:
    alike = []
    clicks: dict[tuple[str, int], list[float]] = defaultdict(list)
    levels: dict[tuple[str, int], list[float]] = defaultdict(list)
    for cut in found:
        at = cut.frame * codec.frame
        a, b = (one[at - 960 : at].astype(np.float64) for one in (cut.samples, cut.decoded))
        alike.append(a @ b / np.sqrt((a @ a) * (b @ b) + 1e-12))
        for kind in SHARES:
            for ms in FADES_MS:
                length = ms * codec.rate // 1000
                made = faded(cut, at, length, kind)
                clicks[kind, ms].append(click(made, (cut.samples, cut.decoded), at - length, at, codec.rate))
                if length:
                    levels[kind, ms].append(level(cut, made, at, length))
    print(f"{len(found)} cuts; original and decoded correlate by {np.median(alike):.3f} (median) over the last 30 ms")
    print(f"{'fade':20}{'click, median':>16}{'90 %':>8}{'worst':>8}{'level, dB':>12}")
    del clicks["equal power", 0]
    for (kind, ms), values in clicks.items():
        loud = f"{np.median(levels[kind, ms]):+.2f}" if ms else ""
        name = f"{kind}, {ms} ms" if ms else "none"
        print(f"{name:20}{np.median(values):16.2f}{np.quantile(values, 0.9):8.2f}{max(values):8.2f}{loud:>12}")


def edges(codec: Codec, found: list[Cut]) -> None:
    """Of the last frames before a cut: how many codes are those of the whole melody."""
    ways: dict[str, list[np.ndarray]] = defaultdict(list)
    for cut in found:
        heard, truth = cut.samples[: cut.frame * codec.frame], cut.codes[cut.frame - 4 : cut.frame]
        shown = np.concatenate([heard, onward(heard, EDGE * codec.frame)])
        ways["cut off"].append(codec.encode(heard)[cut.frame - 4 : cut.frame] == truth)
        ways["predicted onward"].append(codec.encode(shown)[cut.frame - 4 : cut.frame] == truth)
    for way, same in ways.items():
        print(f"\n{way}: share of codes that are those of the whole, by codebook")
        for row, shares in zip((4, 3, 2, 1), np.mean(same, axis=0), strict=True):
            print(f"  {row} from the end" + "".join(f"{share:8.2f}" for share in shares))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--codec", default="tiny-codec")
    parser.add_argument("--count", type=int, default=100)
    given = parser.parse_args()
    codec = load_codec(given.codec)
    found = list(cuts(codec, given.count))
    fades(codec, found)
    edges(codec, found)
