"""`losses.png` is drawn from whatever a log has: nothing yet, one half, no validation."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import matplotlib.pyplot as plt
import pytest

from auricle.audiolm.training.picture import draw_losses


def step(number: int, *values: float | None) -> dict[str, Any]:
    return {"kind": "step", "step": number, "cross_entropy": list(values), "lr": 1e-3}


def validation(number: int, loss: float, *values: float | None) -> dict[str, Any]:
    guesses = {"cross_entropy": [None if one is None else 5.0 for one in values]}
    found = {"kind": "validation", "step": number, "loss": loss, "cross_entropy": list(values)}
    return {**found, "baselines": {"copy_last": guesses}}


@pytest.mark.parametrize(
    ("records", "words"),
    [
        ([], []),
        ([step(1, 3.0, None)], ["codebook 0"]),
        ([validation(1, 2.0, 2.0, 2.5)], ["codebook 0", "codebook 1", "held out", "copy-last"]),
        (
            [step(1, 3.0, None), step(2, 2.0, 4.0), validation(2, 2.0, None, 2.5), step(3, 2.0, None)],
            ["codebook 0", "codebook 1", "training", "held out", "copy-last"],
        ),
    ],
)
def test_what_a_log_has(
    records: list[dict[str, Any]], words: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = list[str]()
    close = plt.close

    def closed(figure: Any) -> None:
        legend = figure.axes[0].get_legend()
        seen.extend(text.get_text() for text in (legend.get_texts() if legend is not None else []))
        close(figure)

    monkeypatch.setattr(plt, "close", closed)
    draw_losses(records, tmp_path / "losses.png")
    assert (tmp_path / "losses.png").read_bytes().startswith(b"\x89PNG")
    assert seen == words
    assert plt.get_fignums() == []


def test_no_half_of_a_picture(tmp_path: Path) -> None:
    (tmp_path / "losses.png").mkdir()
    with pytest.raises(OSError, match="losses"):
        draw_losses([step(1, 1.0)], tmp_path / "losses.png")
    assert [path.name for path in tmp_path.iterdir()] == ["losses.png"]
