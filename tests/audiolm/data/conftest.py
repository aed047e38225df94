"""A codec of random weights, sounds to give it, and folders of codes made by hand."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from tests.audiolm.random_codec import make_codec
from tests.sound.making import tone, written

LENGTHS = {"a/0": 0.5, "a/1": 1.3, "b/0": 0.7, "b/1": 0.01, "c": 2.0, "d": 0.4}  # seconds by id

Contents = Callable[[Path], dict[str, bytes]]


@pytest.fixture(scope="session")
def codec_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """To be read only."""
    return make_codec(tmp_path_factory.mktemp("codec"))


@pytest.fixture(scope="session")
def clips(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Six tones in folders, of several rates; `c` in stereo. To be read only."""
    folder = tmp_path_factory.mktemp("clips")
    for i, (name, seconds) in enumerate(LENGTHS.items()):
        rate = (16_000, 44_100, 32_000)[i % 3]
        samples = tone(200 + 40 * i, seconds, rate)
        path = folder / f"{name}.wav"
        path.parent.mkdir(exist_ok=True)
        both: NDArray[np.float32] = np.stack([samples, samples / 2]) if name == "c" else samples
        path.write_bytes(written(both, rate, "WAV", "PCM_16"))
    return folder


@pytest.fixture(scope="session")
def contents() -> Contents:
    """Every file of a folder by its path in it, but the lock."""
    return lambda out: {
        str(path.relative_to(out)): path.read_bytes()
        for path in sorted(out.rglob("*"))
        if path.is_file() and path.name != ".lock"
    }
