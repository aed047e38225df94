"""The nearest clips of a folder: `python examples/nearest.py FOLDER [CLIP]`, for one clip or for each of them.

Each clip becomes one vector, the mean over time of what the audio encoder's last block gives; near is a high cosine.
The vectors are kept in FOLDER/.vectors: a second call computes nothing.
"""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np

import auricle
from auricle.represent import gather, open_embeddings, represent
from auricle.types import Extraction

NEAREST = 3


def main(folder: Path, clip: str | None = None) -> None:
    model = auricle.load("tiny", encoder_only=True)
    represent(model, gather([folder]), folder / ".vectors", Extraction(pooling="mean"))

    found = open_embeddings(folder / ".vectors")
    names = [str(Path(path).relative_to(folder)) for path in found.index.column("path").to_pylist()]
    vectors = found.vectors()[:, -1]  # (clips, width) of the last layer
    vectors = vectors - vectors.mean(0)  # what all clips have in common tells none from another
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)

    cosines = vectors @ vectors.T
    np.fill_diagonal(cosines, -np.inf)  # a clip is no neighbour of its own
    for i in range(len(names)) if clip is None else [names.index(clip)]:
        nearest = np.argsort(-cosines[i])[: min(NEAREST, len(names) - 1)]
        print(f"{names[i]}:", ", ".join(f"{names[j]} ({cosines[i, j]:.2f})" for j in nearest))


if __name__ == "__main__":
    main(Path(sys.argv[1]), *sys.argv[2:3])
