"""A picture of what was made: its spectrogram, with the seams marked."""

from __future__ import annotations

import math
from pathlib import Path

from auricle.audiolm.making.made import Made
from auricle.errors import OptionError
from auricle.jobs.extras import needed
from auricle.jobs.folder import replacing

SUFFIXES = (".png", ".svg", ".pdf")
WHAT, EXTRA = "a picture", "train"
WIDEST = 2000  # columns; more can't be seen
RANGE_DB = 80.0
TICKS = (100, 500, 1000, 2000, 5000, 10_000)


def check_picture(path: Path) -> None:
    """
    Raises:
        OptionError: it doesn't end in a format that can be drawn.
        UnsupportedError: there is nothing to draw with.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"picture {path} must end in {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]}")
    needed("matplotlib", WHAT, EXTRA)


def _band(hertz: float, rate: int, bands: int) -> float:
    """Which of the mel bands, evenly spaced between 0 Hz and the middle of the rate, has its centre there."""
    return (bands + 1) * math.log1p(hertz / 700) / math.log1p(rate / 2 / 700) - 1


def draw(made: Made, path: Path) -> None:
    """Draws it to a file, whole or not at all.

    Raises:
        OptionError: the format is unknown, or the file can't be written.
    """
    check_picture(path)
    needed("matplotlib", WHAT, EXTRA).use("Agg")
    plt = needed("matplotlib.pyplot", WHAT, EXTRA)
    import torch

    from auricle.audiolm.spectra import log_mel

    audio = made.audio
    hop = max(256, len(audio.samples) // WIDEST)
    decibels = log_mel(torch.from_numpy(audio.samples)[None], audio.rate, hop=hop)[0].T.numpy() * 8.685889638
    figure, axes = plt.subplots(figsize=(10, 3.5), layout="constrained")
    top, bands = float(decibels.max()), decibels.shape[0]
    extent = (0, audio.seconds, -0.5, bands - 0.5)
    shown = axes.imshow(
        decibels,
        origin="lower",
        aspect="auto",
        extent=extent,
        cmap="magma",
        vmin=max(top - RANGE_DB, float(decibels.min())),
        vmax=top,
    )
    for seam in made.seams_s:
        axes.axvline(seam, color="white", linestyle="--", linewidth=1.2)
    first, end = made.new_s
    axes.annotate("", (first, 1.02), (end, 1.02), xycoords=("data", "axes fraction"), arrowprops={"arrowstyle": "|-|"})
    axes.text((first + end) / 2, 1.06, "new", transform=axes.get_xaxis_transform(), ha="center", va="bottom")
    axes.set_xlabel("seconds")
    axes.set_ylabel("Hz")
    axes.set_yticks([_band(hertz, audio.rate, bands) for hertz in TICKS if hertz < audio.rate / 2])
    axes.set_yticklabels([f"{hertz:,}" for hertz in TICKS if hertz < audio.rate / 2])
    figure.colorbar(shown, label="dB", ax=axes)
    try:
        with replacing(path) as part:
            figure.savefig(part, dpi=150, format=path.suffix[1:].lower())
    except OSError as error:
        raise OptionError(f"picture {path} can't be written ({error.strerror}): name another file") from None
    finally:
        plt.close(figure)
