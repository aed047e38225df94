"""What an encoder sees past the edge of a sound.

A codec's encoder looks some frames to each side, and where a sound is cut off it sees the sound mirrored. A model that
was trained on codes from the middle of sounds then hears its last three frames as something else. So the encoder is
shown how the sound would go on if it went on as it does: by linear prediction, whose coefficients come from Burg's
method, which is stable. What that is worth is in docs/continue.md, and measured by `recipes/audiolm/seams.py`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ORDER = 256
HEARD = 4096  # samples that the coefficients come from
SILENT = 1e-12


def onward(samples: NDArray[np.float32], count: int) -> NDArray[np.float32]:
    """`(n,)` -> the next `(count,)`, as they would be if nothing new began."""
    known = samples[-HEARD:].astype(np.float64)
    weights = _burg(known, min(ORDER, len(known) // 3))[::-1]
    order = len(weights)
    if not order:
        return np.zeros(count, np.float32)
    found = np.concatenate([known[-order:], np.zeros(count)])
    for at in range(count):
        found[order + at] = -(weights @ found[at : order + at])
    return found[order:].astype(np.float32)


def _burg(x: NDArray[np.float64], order: int) -> NDArray[np.float64]:
    """Coefficients `(order,)` of the error filter 1 + a_1 z^-1 + ...; fewer where nothing is left to predict."""
    forward, backward = x[1:], x[:-1]
    found = np.zeros(0)
    for _ in range(order):
        energy = float(forward @ forward + backward @ backward)
        if energy < SILENT:
            break
        reflection = -2 * float(forward @ backward) / energy
        found = np.append(found + reflection * found[::-1], reflection)
        forward, backward = forward[1:] + reflection * backward[1:], backward[:-1] + reflection * forward[:-1]
    return found
