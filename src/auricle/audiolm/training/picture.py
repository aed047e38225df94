"""`losses.png`: how a run went, for a quick look."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from auricle.jobs.extras import needed
from auricle.jobs.folder import replacing

# Okabe & Ito (2008): colour-blind readers tell them apart.
COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#565e6b", "#1f2430")
MUTED, LINE = "#5d6574", "#d9dde4"
DOTTED = {"linestyle": (0, (1, 2)), "linewidth": 1}
SMOOTH = 0.02  # of a curve's points, in the mean that is drawn over them

Records = Sequence[dict[str, Any]]


def check_drawing() -> None:
    """
    Raises:
        UnsupportedError: there is nothing to draw with.
    """
    needed("matplotlib", "the picture of the losses", "train")


def draw_losses(records: Records, path: Path) -> None:
    """Draws the records of a log: cross-entropy of each codebook, validation as dots on lines, and the baselines.

    Args:
        records: as in `log.jsonl`, in order.
        path: a .png, which appears when it is whole.
    """
    needed("matplotlib", "the picture of the losses", "train").use("Agg")
    plt = needed("matplotlib.pyplot", "the picture of the losses", "train")
    figure, (losses, rate) = plt.subplots(
        2, 1, figsize=(8, 6.5), sharex=True, layout="constrained", height_ratios=(4, 1)
    )
    try:
        steps = [record for record in records if record["kind"] == "step"]
        checks = [record for record in records if record["kind"] == "validation"]
        _draw_steps(losses, steps)
        _draw_validations(losses, checks)
        _explain(losses, steps, checks)
        _draw_rate(rate, steps)
        with replacing(path) as part:
            figure.savefig(part, dpi=120, format="png")
    finally:
        plt.close(figure)


def _draw_steps(axes: Any, steps: Records) -> None:
    for book, at, values in _curves(steps):
        colour = COLOURS[book % len(COLOURS)]
        axes.plot(at, values, color=colour, alpha=0.2, linewidth=0.7)
        width = max(1, round(SMOOTH * len(values)))
        smooth = np.convolve(values, np.ones(width) / width, mode="valid")
        axes.plot(at[width - 1 :], smooth, color=colour, linewidth=1, alpha=0.7)


def _draw_validations(axes: Any, checks: Records) -> None:
    for book, at, values in _curves(checks):
        colour = COLOURS[book % len(COLOURS)]
        axes.plot(at, values, color=colour, marker="o", markersize=4, linewidth=1.6)
        axes.axhline(checks[-1]["baselines"]["copy_last"]["cross_entropy"][book], color=colour, **DOTTED)
    if checks:
        best = min(checks, key=lambda one: one["loss"])
        axes.axvline(best["step"], color=MUTED, linewidth=0.8, linestyle=(0, (4, 3)))
        left = best["step"] > axes.get_xlim()[1] / 2  # the side with room for the words
        place = {
            "xycoords": ("data", "axes fraction"),
            "xytext": (-4 if left else 4, 4),
            "ha": "right" if left else "left",
        }
        words = f"best, {best['loss']:.3f}"
        axes.annotate(words, (best["step"], 0), textcoords="offset points", fontsize=8, color=MUTED, **place)


def _explain(axes: Any, steps: Records, checks: Records) -> None:
    """Colours are codebooks, and lines what was measured."""
    for book in sorted({book for book, _, _ in [*_curves(steps), *_curves(checks)]}):
        axes.plot([], [], color=COLOURS[book % len(COLOURS)], linewidth=3, label=f"codebook {book}")
    if checks:
        if steps:
            axes.plot([], [], color=MUTED, linewidth=1, alpha=0.7, label="training")
        axes.plot([], [], color=MUTED, marker="o", markersize=4, linewidth=1.6, label="held out")
        axes.plot([], [], color=MUTED, label="copy-last", **DOTTED)
    axes.set_ylabel("cross-entropy, nats a token")
    axes.grid(color=LINE, linewidth=0.6)
    if axes.get_legend_handles_labels()[0]:
        axes.legend(frameon=False, fontsize=8, ncols=2)


def _draw_rate(axes: Any, steps: Records) -> None:
    axes.plot([one["step"] for one in steps], [one["lr"] for one in steps], color=MUTED, linewidth=1.2)
    axes.set_ylabel("learning rate")
    axes.set_xlabel("step")
    axes.set_ylim(bottom=0)
    axes.grid(color=LINE, linewidth=0.6)


def _curves(records: Records) -> list[tuple[int, Any, Any]]:
    """Codebook, steps and nats of each codebook that has any."""
    found = []
    for book in range(len(records[0]["cross_entropy"]) if records else 0):
        points = [
            (one["step"], one["cross_entropy"][book]) for one in records if one["cross_entropy"][book] is not None
        ]
        if points:
            found.append((book, *np.array(points).T))
    return found
