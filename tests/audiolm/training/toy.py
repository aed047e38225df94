"""Tokens that follow a rule, as another program might leave them: a model learns it in seconds."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from lhotse import CutSet, MonoCut
from lhotse.features import Features
from lhotse.features.io import NumpyHdf5Writer

from auricle.audiolm.training import Architecture, Data, Optimising, Run, Settings

SIZE, BOOKS, RATE = 16, 4, 50
COUNTS = {"train": 40, "validation": 6, "test": 6}


def codes_of(phase: int, frames: int) -> np.ndarray:
    """`(frames, 4)`: codebook 0 goes round in steps of 3, the others follow from it."""
    first = (phase + 3 * np.arange(frames)) % SIZE
    return np.stack([(first * (2 * book + 1) + 5 * book) % SIZE for book in range(BOOKS)], 1).astype(np.int32)


def toy_tokens(folder: Path, counts: dict[str, int] = COUNTS, seed: int = 0) -> Path:
    """Items of 0.6 to 1.2 s, each with a phase of its own."""
    folder.mkdir(parents=True, exist_ok=True)
    rng = np.random.default_rng(seed)
    for split, count in counts.items():
        with NumpyHdf5Writer(str(folder / f"codes_{split}.h5")) as writer:
            cuts = [_cut(f"{split}-{number}", writer, rng) for number in range(count)]
        CutSet.from_cuts(cuts).to_file(folder / f"cuts_{split}.jsonl.gz")
    return folder


def _cut(name: str, writer: NumpyHdf5Writer, rng: np.random.Generator) -> MonoCut:
    frames = int(rng.integers(30, 61))
    key = writer.write(name, codes_of(int(rng.integers(SIZE)), frames))
    features = Features(
        type="encodec",
        num_frames=frames,
        num_features=BOOKS,
        frame_shift=1 / RATE,
        sampling_rate=32_000,
        start=0.0,
        duration=frames / RATE,
        storage_type=writer.name,
        storage_path=str(Path(writer.storage_path).name),
        storage_key=key,
        recording_id=name,
        channels=0,
    )
    return MonoCut(
        id=name,
        start=0.0,
        duration=frames / RATE,
        channel=0,
        features=features,
        custom={"codec": "toy", "source": name},
    )


SMALL = Architecture(decoder_dim=32, nhead=2, num_decoder_layers=2, dropout=0.1)


def settings(data: Path, out: Path, **changes: object) -> Settings:
    """A small run; `changes` are fields of any of its parts."""
    parts: dict[type, dict[str, object]] = {
        Data: {"manifest_dir": data, "max_duration": 10.0, "filter_min_duration": 0.0, "codebook_size": SIZE},
        Run: {"out": out, "log_every": 1, "threads": 1, "tensorboard": False, "device": "cpu"},
        Architecture: {
            name: getattr(SMALL, name) for name in ("decoder_dim", "nhead", "num_decoder_layers", "dropout")
        },
        Optimising: {"num_epochs": 2, "base_lr": 3e-3, "warmup": 5, "dtype": "float32"},
    }
    for name, value in changes.items():
        part = next(one for one in parts if name in one.__dataclass_fields__)
        parts[part][name] = value
    made = {one: one(**values) for one, values in parts.items()}  # type: ignore[arg-type]
    return Settings(made[Data], made[Run], made[Architecture], made[Optimising])
