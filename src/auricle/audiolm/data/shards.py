"""What tokenizing writes: archives of codes, and the cuts that name them.

plan.json, parts/00000.json     as in `jobs.parts`
codes/SPLIT-00000.h5            lhotse's numpy_hdf5: an array `(frames, codebooks)` for each item
cuts_SPLIT.jsonl.gz             lhotse's MonoCuts, one an item; paths are relative to the folder
failures.jsonl                  the sounds that could not be read, each with its reason

The same items give the same bytes: no dates, and arrays in order.
"""

from __future__ import annotations

import gzip
import io
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.audiolm.codecs import Codec
from auricle.audiolm.data.cuts import manifest_name
from auricle.audiolm.data.encoding import Encoded
from auricle.audiolm.data.sounds import Sound
from auricle.audiolm.data.storage import HDF5, close_files
from auricle.jobs.extras import needed
from auricle.jobs.folder import replaced

CODES = "codes"


def pieces(frames: int, most: int) -> list[tuple[int, int]]:
    """First frame and the one after the last of the items that a sound becomes: of like length, `most` at most."""
    count = -(-frames // most) if most else 1
    edges = [frames * number // count for number in range(count + 1)]
    return list(pairwise(edges))


def archive_name(split: str, number: int) -> str:
    """Of the shard with that number in its split; relative to the folder."""
    return f"{CODES}/{split}-{number:05}.h5"


def write_archive(path: Path, arrays: Mapping[str, NDArray[Any]]) -> int:
    """Writes arrays by their keys; gives the size of the file in bytes."""
    close_files()
    with io.BytesIO() as file:  # HDF5 writing to a disk doesn't say when it is full
        with needed("h5py", "writing codes", "train").File(file, "w", track_order=False) as archive:
            for key, array in arrays.items():
                archive.create_dataset(key, data=np.ascontiguousarray(array), track_times=False)
        content = file.getvalue()
    path.parent.mkdir(exist_ok=True)
    replaced(path, content)
    return len(content)


def cut_of(sound: Sound, done: Encoded, span: tuple[int, int], place: tuple[str, str], codec: Codec) -> dict[str, Any]:
    """An item as lhotse's MonoCut.

    Args:
        span: first frame and the one after the last, in the codes of the sound.
        place: the archive, relative to the folder, and the key in it.
    """
    assert done.codes is not None
    first, end = span
    offset = sound.start_s or 0.0
    times = {
        "start": round(offset + first / codec.frame_rate, 6),
        "duration": round((end - first) / codec.frame_rate, 6),
    }
    whole = (first, end) == (0, len(done.codes))
    features = {
        "type": codec.name,
        "num_frames": end - first,
        "num_features": codec.codebooks,
        "frame_shift": 1 / codec.frame_rate,
        "sampling_rate": codec.rate,
        **times,
        "storage_type": HDF5,
        "storage_path": place[0],
        "storage_key": place[1],
        "recording_id": sound.id,
        "channels": 0,
    }
    custom = {
        "source": sound.source,
        "path": sound.path,
        "codec": codec.name,
        "size": codec.size,
        "sha256": done.sha256,  # of the samples of the whole sound
        "last": end == len(done.codes),  # whether the sound ends with it
    }
    name = sound.id if whole else f"{sound.id}#{first:06}"
    return {"id": name, **times, "channel": 0, "features": features, "custom": custom, "type": "MonoCut"}


def write_manifest(out: Path, split: str, cuts: Iterable[Mapping[str, Any]]) -> None:
    """`cuts_SPLIT.jsonl.gz`."""
    text = "".join(json.dumps(cut, ensure_ascii=False) + "\n" for cut in cuts)
    replaced(out / manifest_name(split), gzip.compress(text.encode(), mtime=0))


def write_failures(path: Path, failures: Sequence[Mapping[str, Any]]) -> None:
    """A line for each sound that could not be read."""
    lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in failures)
    replaced(path, lines.encode("utf-8", "backslashreplace"))
