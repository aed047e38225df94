"""Embeds any number of sounds into a folder: what isn't done yet of its plan, shard after shard."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from auricle.api import Model
from auricle.errors import SoundError
from auricle.jobs.ahead import made_ahead
from auricle.jobs.extras import needed
from auricle.jobs.folder import locked, told_when_full
from auricle.represent.inputs import Items, spelt
from auricle.represent.plan import Plan, Settings, Shard, bytes_per_second, checked, measure, outline, shards_of
from auricle.represent.shards import Done, Store
from auricle.sound.decode import Limits, decode
from auricle.sound.files import refuse_special
from auricle.sound.samples import content_hash
from auricle.types import Audio, Embedding, Extraction

Progress = Callable[[int, int], None]  # sounds done, and in all
Read = tuple[Audio, str]  # a sound, and the hash of its samples


@dataclass(frozen=True)
class Outcome:
    """What a run came to."""

    items: int
    vectors: int
    shards: int
    computed: int  # shards of this run; the others were there
    failures: tuple[dict[str, Any], ...]  # item, path, reason


def represent(
    model: Model,
    items: Items,
    out: str | Path,
    extraction: Extraction | None = None,
    settings: Settings | None = None,
    *,
    limits: Limits | None = None,
    strict: bool = False,
    progress: Progress = lambda done, whole: None,
) -> Outcome:
    """Embeds sounds into a folder; of one that was begun, does the rest, and ends with the same bits.

    Args:
        items: what `gather` gives.
        out: a new folder, or one that was begun with the same sounds, model and settings.
        limits: a sound that is longer or larger can't be read.
        strict: the first sound that can't be read ends the run; otherwise it is recorded and passed over.

    Raises:
        InputError: the folder is of other sounds, another model or other settings; OptionError where the model has no
            such stage or layer.
        SoundError: with `strict`, a sound can't be read.
        AuricleError: the disk is full; what is written can be read.
    """
    extraction, settings, limits = extraction or Extraction(), settings or Settings(), limits or Limits()
    asked = outline(model, items, extraction, settings, limits)
    with locked(Path(out)):
        store = open_store(model, asked, items, settings, Path(out), limits)
        shards = store.plan.whole(store.lengths())
        left = [shard for shard in shards if not store.done(shard.number)]
        ahead = _decoded(model, items, [batch for shard in left for batch in shard.batches], limits)
        with told_when_full(store.out, "the shards that are whole can be read"):
            for shard in left:
                done = compute(model, items, shard, extraction, ahead, strict=strict, progress=progress)
                store.write(shard.number, done)
                if done.failures:
                    store.tell_failures()
                progress(shard.end, len(items.paths))
            vectors = store.finish()
        return Outcome(len(items.paths), vectors, len(shards), len(left), tuple(store.failures()))


def open_store(model: Model, asked: Plan, items: Items, settings: Settings, out: Path, limits: Limits) -> Store:
    """The folder with its plan: the one it has, or a new one; errors as for `represent`."""
    store = Store(out, asked)
    kept = store.kept()
    if kept is not None:
        store.plan = checked(kept, asked, out)
        return store
    lengths = measure(items.paths, limits)
    with told_when_full(out, "nothing is written"):
        store.begin(items, lengths, list(shards_of(lengths, settings, bytes_per_second(model, asked))))
    return store


def compute(
    model: Model,
    items: Items,
    shard: Shard,
    extraction: Extraction,
    ahead: Iterator[list[Read | SoundError]] | None = None,
    *,
    limits: Limits | None = None,
    strict: bool = False,
    progress: Progress = lambda done, whole: None,
) -> Done:
    """Computes one shard; the result depends on the plan and its sounds alone.

    Args:
        ahead: what each of the shard's batches decodes to, in their order; None decodes them here.
    """
    ahead = ahead or _decoded(model, items, shard.batches, limits or Limits())
    found: dict[int, tuple[Embedding, str]] = {}
    failures: dict[int, SoundError] = {}
    for batch in shard.batches:
        read: dict[int, Read] = {}
        for number, sound in zip(batch, next(ahead), strict=True):
            if not isinstance(sound, SoundError):
                read[number] = sound
            elif strict:
                raise sound
            else:
                failures[number] = sound
        vectors = model.embed_many([audio for audio, _ in read.values()], **asdict(extraction)) if read else []
        found.update((number, (one, read[number][1])) for number, one in zip(read, vectors, strict=True))
        progress(shard.first + len(found) + len(failures), len(items.paths))
    records = [{"item": n, "path": spelt(items.paths[n]), "reason": spelt(str(failures[n]))} for n in sorted(failures)]
    return Done(_stacked(model, found, extraction), _columns(items, found), records)


def _decoded(
    model: Model, items: Items, batches: Sequence[Sequence[int]], limits: Limits
) -> Iterator[list[Read | SoundError]]:
    """The sounds of each batch, decoded while the model computes."""
    return made_ahead(lambda batch: [_read(model, items.paths[n], limits) for n in batch], batches)


def _read(model: Model, path: str, limits: Limits) -> Read | SoundError:
    try:
        refuse_special(path)
        audio = decode(path, rate=model.backend.rate, limits=limits)
        model.backend.check(audio)
    except SoundError as error:
        return error
    return audio, content_hash(audio.samples)


def _stacked(model: Model, found: dict[int, tuple[Embedding, str]], extraction: Extraction) -> Any:
    """`(rows, layers, width)`, in the order of the items."""
    if not found:
        return np.empty((0, 1, model.stages[extraction.stage].width), extraction.dtype)
    rows = np.concatenate([found[n][0].vectors.transpose(1, 0, 2) for n in sorted(found)])
    return np.ascontiguousarray(rows)  # safetensors writes memory as it lies


def _columns(items: Items, found: dict[int, tuple[Embedding, str]]) -> dict[str, Any]:
    """What the index says of each vector, but where it stands."""
    arrow = needed("pyarrow", "writing embeddings", "embed")
    order = sorted(found)
    counts = [len(found[n][0].kinds) for n in order]
    rows = [n for n, count in zip(order, counts, strict=True) for _ in range(count)]
    times = {name: [getattr(found[n][0], name) for n in order] for name in ("start_s", "end_s")}
    columns = {
        "item": arrow.array(rows, arrow.int64()),
        "path": arrow.array([spelt(items.paths[n]) for n in rows], arrow.string()),
        **{
            name: arrow.array(np.concatenate(values) if values else [], arrow.float64())
            for name, values in times.items()
        },
        "kind": arrow.array([kind for n in order for kind in found[n][0].kinds], arrow.string()),
        "seconds": arrow.array([found[n][0].seconds for n in rows], arrow.float64()),
        "sha256": arrow.array([found[n][1] for n in rows], arrow.string()),
    }
    return {**columns, **items.carried(rows)}


def how_far(out: Path) -> str | None:
    """What to tell of a run that was stopped: how far it came; None where nothing was begun."""
    try:
        store = Store(out, Plan.from_json((out / "plan.json").read_text(encoding="utf-8")))
    except (OSError, ValueError):
        return None
    done = sum(store.done(n) for n in range(len(store.plan.shards)))
    return f"{done} of {len(store.plan.shards)} shards are written to {out}: run the same command again to go on"
