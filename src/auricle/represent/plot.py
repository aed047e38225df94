"""Pictures of embeddings: how alike the moments of a sound are, and which of many clips lie close together."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.errors import OptionError
from auricle.jobs.extras import needed
from auricle.jobs.folder import replacing
from auricle.represent.shards import Embeddings
from auricle.types import Embedding

LABELLED = 40  # points of a projection that are named; more could not be read
SEEN = 1500  # vectors along an axis of a similarity picture
COLOURS = "tab10"
SUFFIXES = (".png", ".svg", ".pdf")


@dataclass(frozen=True, eq=False)
class Drawn:
    """What a picture needs of a sound."""

    source: str
    group: str  # what its point is coloured by: a label, or else its folder
    layer: int
    vectors: NDArray[np.float64]  # (vectors, width) of the last layer; one, the mean, unless all are needed
    edges_s: NDArray[np.float64]  # (vectors + 1,): where each begins, and the last ends; NaN without times

    @classmethod
    def of(cls, one: Embedding, label: str | None = None, *, whole: bool = True) -> Drawn:
        edges_s = np.append(one.start_s, one.end_s[-1:])
        return cls._made(one.source, label, one.layers[-1], one.vectors[-1], edges_s, whole)

    @classmethod
    def _made(
        cls,
        source: str,
        label: str | None,
        layer: int,
        vectors: NDArray[Any],
        edges_s: NDArray[np.float64],
        whole: bool,
    ) -> Drawn:
        values = vectors.astype(np.float64) if whole else vectors.mean(0, dtype=np.float64)[None]
        return cls(source, Path(source).parent.name if label is None else label, layer, values, edges_s)


def drawn_of(found: Embeddings) -> list[Drawn]:
    """The sounds of a folder, one after the other: of more than two only their means are kept."""
    whole = len(found.index.column("item").unique()) <= 2
    items, starts_s, ends_s = (found.index.column(name).to_numpy() for name in ("item", "start_s", "end_s"))

    def edges_s(item: int) -> NDArray[np.float64]:
        return np.append(starts_s[items == item], ends_s[items == item][-1:]) if whole else np.empty(0)

    return [
        Drawn._made(
            row["path"],
            str(row["label"]) if "label" in row else None,
            found.layers[-1],
            vectors[:, -1],
            edges_s(row["item"]),
            whole,
        )
        for row, vectors in found.sounds()
    ]


def check_name(path: Path) -> None:
    """
    Raises:
        OptionError: it doesn't end in a format that can be drawn.
        UnsupportedError: there is nothing to draw with.
    """
    if path.suffix.lower() not in SUFFIXES:
        raise OptionError(f"plot is {str(path)!r}; its name must end in {', '.join(SUFFIXES)}")
    needed("matplotlib", "a plot", "embed")


def draw(sounds: Sequence[Drawn], path: Path) -> str:
    """Draws similarity over time for one sound or two, a projection for more.

    Args:
        path: what it is written to; its suffix says the format (.png, .svg, .pdf).

    Returns:
        What was drawn, in a line.

    Raises:
        OptionError: the format is unknown, or there is too little to draw.
    """
    check_name(path)
    needed("matplotlib", "a plot", "embed").use("Agg")
    plt = needed("matplotlib.pyplot", "a plot", "embed")
    figure, told = _similarity(plt, sounds) if len(sounds) <= 2 else _projection(plt, sounds)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with replacing(path) as part:  # a disk that is full leaves no half of a picture
            figure.savefig(part, dpi=150, format=path.suffix[1:].lower())
    except OSError as error:
        raise OptionError(f"plot {path} can't be written ({error.strerror}): name another file") from None
    finally:
        plt.close(figure)
    return told


def _similarity(plt: Any, sounds: Sequence[Drawn]) -> tuple[Any, str]:
    """Cosines between all moments of a sound, or of two."""
    across, down = sounds[-1], sounds[0]
    for one in (across, down):
        if len(one.vectors) < 2 or np.isnan(one.edges_s).any():
            raise OptionError(
                f"{one.source} has no vectors over time to draw: leave the pooling out, and take audio tokens"
            )
    (a, a_times), (b, b_times) = _thinned(down), _thinned(across)
    cosines = _normed(a) @ _normed(b).T
    figure, axes = plt.subplots(figsize=(7, 6), layout="constrained")
    # Neighbouring layers of a network are alike everywhere: the scale begins where this sound's values do.
    lowest = float(np.quantile(cosines, 0.01))
    shown = axes.pcolormesh(b_times, a_times, cosines, cmap="magma", vmin=lowest, vmax=1.0, rasterized=True)
    axes.invert_yaxis()
    axes.set_xlabel(f"{Path(across.source).name}, seconds")
    axes.set_ylabel(f"{Path(down.source).name}, seconds")
    axes.set_title(f"similarity of moments, layer {down.layer}")
    figure.colorbar(shown, label="cosine", ax=axes)
    return figure, f"the similarity of {len(a)} by {len(b)} moments"


def _thinned(one: Drawn) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Vectors of the last layer, at most `SEEN`, and their edges: each stands for those left out behind it."""
    every = -(-len(one.vectors) // SEEN)
    return one.vectors[::every], np.append(one.edges_s[:-1:every], one.edges_s[-1])


def _projection(plt: Any, sounds: Sequence[Drawn]) -> tuple[Any, str]:
    """The two directions in which mean-pooled clips differ most."""
    points = np.stack([one.vectors.mean(0) for one in sounds])
    pca = needed("sklearn.decomposition", "a projection", "embed").PCA(2)
    places = pca.fit_transform(_normed(points))
    share = pca.explained_variance_ratio_
    names = [one.group for one in sounds]
    figure, axes = plt.subplots(figsize=(8, 6), layout="constrained")
    kinds = sorted(set(names))
    for number, kind in enumerate(kinds):
        chosen = [i for i, name in enumerate(names) if name == kind]
        colour = plt.get_cmap(COLOURS)(number % 10)
        axes.scatter(*places[chosen].T, s=30, alpha=0.8, color=colour, label=kind, edgecolors="white", linewidths=0.5)
    if len(sounds) <= LABELLED:
        for one, place in zip(sounds, places, strict=True):
            axes.annotate(Path(one.source).stem, place, xytext=(4, 4), textcoords="offset points", fontsize=7)
    if 1 < len(kinds) <= 20:
        axes.legend(frameon=False, fontsize=8)
    axes.set_xlabel(f"first component, {100 * share[0]:.0f} % of the variance")
    axes.set_ylabel(f"second component, {100 * share[1]:.0f} %")
    axes.set_title(f"{len(sounds)} clips, mean of layer {sounds[0].layer} (PCA)")
    axes.margins(0.12)
    return figure, f"a projection of {len(sounds)} clips"


def _normed(vectors: NDArray[np.float64]) -> NDArray[np.float64]:
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    return np.asarray(vectors / np.where(lengths == 0, 1, lengths))
