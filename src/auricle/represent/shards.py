"""Where vectors and what is known of each are written, shard by shard.

plan.json                     settings, provenance, which items make which shard
items.parquet                 the items: path, length by its header, what a manifest carried
vectors-00000.safetensors     one file a shard (or .npz): `vectors`, (rows, layers, width)
vectors.npy                   with format "memmap" instead: the rows of all shards
parts/00000.parquet           the index of a shard, and which items failed; once it is there, the shard is done
index.parquet                 a row a vector, of all shards, in the order of the items
failures.jsonl                the items that could not be read, each with its reason
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.errors import InputError
from auricle.jobs.extras import needed
from auricle.jobs.folder import refuse_others, replaced, replacing
from auricle.represent.inputs import Items, spelt
from auricle.represent.plan import Plan
from auricle.represent.writing import GrowingArray

PLAN, ITEMS, MEMMAP, INDEX, FAILURES = "plan.json", "items.parquet", "vectors.npy", "index.parquet", "failures.jsonl"
WHAT = "writing embeddings"
PROVENANCE = b"auricle"  # in the metadata of every parquet file
FAILED = b"failures"


@dataclass(frozen=True)
class Done:
    """What the items of one shard gave."""

    vectors: NDArray[Any]  # (rows, layers, width)
    columns: dict[str, Any]  # of the index, without `file` and `row`
    failures: list[dict[str, Any]]  # item, path, reason


class Store:
    """The folder of a plan."""

    def __init__(self, out: Path, plan: Plan) -> None:
        self.out, self.plan = out, plan
        self.arrow, self.parquet = needed("pyarrow", WHAT, "embed"), needed("pyarrow.parquet", WHAT, "embed")
        self.format: str = plan.settings["format"]

    # --- what is there

    def kept(self) -> Plan | None:
        """The plan that the folder was begun with; None of a folder that is new.

        Raises:
            InputError: the folder holds something else.
        """
        if (self.out / PLAN).is_file():
            return read_plan(self.out)
        refuse_others(self.out, PLAN, (ITEMS, "parts"))
        return None

    def lengths(self) -> list[float]:
        """Of each item, in seconds, as they were when the plan was made."""
        return list(self.parquet.read_table(self.out / ITEMS, columns=["seconds"]).column("seconds").to_pylist())

    def done(self, number: int) -> bool:
        return self._part(number).is_file()

    def failures(self) -> list[dict[str, Any]]:
        """Of the shards that are done."""
        numbers = [n for n in range(len(self.plan.shards)) if self.done(n)]
        metadata = (self.parquet.read_schema(self._part(n)).metadata for n in numbers)
        return [one for words in metadata for one in json.loads(words[FAILED])]

    # --- writing

    def begin(self, items: Items, lengths: Sequence[float], shards: Sequence[tuple[int, int]]) -> None:
        """Writes the plan; it stands for all that follows."""
        columns = {
            "path": self.arrow.array([spelt(path) for path in items.paths], self.arrow.string()),
            "seconds": list(lengths),
        }
        self._write_table(self.out / ITEMS, {**columns, **items.carried(range(len(items.paths)))}, {})
        self.plan = replace(self.plan, shards=tuple(shards))
        replaced(self.out / PLAN, self.plan.as_json().encode())

    def write(self, number: int, shard: Done) -> None:
        """Vectors first, then what says that they are there."""
        (self.out / "parts").mkdir(exist_ok=True)
        file, first = MEMMAP, 0
        if self.format == "memmap":
            first = sum(self.parquet.read_metadata(self._part(n)).num_rows for n in range(number))
            if len(shard.vectors):
                GrowingArray(self.out / MEMMAP, first).append(shard.vectors)
        else:
            file = f"vectors-{number:05}.{self.format}"
            self._write_vectors(self.out / file, shard.vectors)
        count = len(shard.vectors)
        places = {"file": self.arrow.array([file] * count, self.arrow.string()), "row": np.arange(first, first + count)}
        columns = {**shard.columns, **{name: self.arrow.array(values) for name, values in places.items()}}
        self._write_table(self._part(number), columns, {FAILED: json.dumps(shard.failures).encode()})

    def finish(self) -> int:
        """The index and the failures of all shards, in one file each. Gives the number of vectors."""
        rows = 0
        with replacing(self.out / INDEX) as part:
            schema = self.parquet.read_schema(self._part(0)).with_metadata(self._words())
            with self.parquet.ParquetWriter(part, schema) as writer:
                for number in range(len(self.plan.shards)):
                    table = self.parquet.read_table(self._part(number))
                    writer.write_table(table.cast(schema))
                    rows += table.num_rows
        self.tell_failures()
        return rows

    def tell_failures(self) -> None:
        """`failures.jsonl`, of the shards that are done."""
        lines = "".join(json.dumps(one, ensure_ascii=False) + "\n" for one in self.failures())
        replaced(self.out / FAILURES, lines.encode())

    def _write_vectors(self, path: Path, vectors: NDArray[Any]) -> None:
        words = self._provenance()
        with replacing(path) as part, part.open("wb") as stream:
            if self.format == "npz":
                np.savez(stream, vectors=vectors, provenance=np.array(words))
            else:
                from safetensors.numpy import save

                stream.write(save({"vectors": vectors}, metadata={"auricle": words}))

    def _write_table(self, path: Path, columns: Mapping[str, Any], metadata: Mapping[bytes, bytes]) -> None:
        table = self.arrow.table(dict(columns)).replace_schema_metadata({**self._words(), **metadata})
        with replacing(path) as part, part.open("wb") as stream:
            self.parquet.write_table(table, stream)

    def _words(self) -> dict[bytes, bytes]:
        return {PROVENANCE: self._provenance().encode()}

    def _provenance(self) -> str:
        return json.dumps({"provenance": self.plan.provenance, "settings": self.plan.settings})

    def _part(self, number: int) -> Path:
        return self.out / "parts" / f"{number:05}.parquet"


def read_plan(folder: Path) -> Plan:
    """
    Raises:
        InputError: the folder has none, or one that can't be read.
    """
    try:
        return Plan.from_json((folder / PLAN).read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(
            f"{folder} holds no embeddings: it has no {PLAN}; name a folder that `auricle embed` wrote"
        ) from None
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise InputError(f"{folder / PLAN} can't be read ({error}): name another folder") from None


class Embeddings:
    """A folder of embeddings, read back; of one that isn't complete, what is done of it."""

    def __init__(self, folder: Path) -> None:
        self.plan = read_plan(folder)
        self.folder = folder
        arrow, parquet = (
            needed("pyarrow", "reading embeddings", "embed"),
            needed("pyarrow.parquet", "reading embeddings", "embed"),
        )
        whole = folder / INDEX
        parts = [whole] if whole.is_file() else sorted((folder / "parts").glob("[0-9]*.parquet"))
        if not parts:
            raise InputError(f"{folder} holds no embeddings yet: no shard is done; run the same command again")
        tables = [parquet.read_table(part).replace_schema_metadata(None) for part in parts]
        self.index: Any = arrow.concat_tables(tables)  # a pyarrow.Table, a row a vector
        self._open: dict[str, NDArray[Any]] = {}

    @property
    def layers(self) -> tuple[int, ...]:
        return tuple(self.plan.settings["layers"])

    def vectors(self, rows: Sequence[int] | NDArray[np.int64] | None = None) -> NDArray[Any]:
        """`(rows, layers, width)` of these rows of the index; None is all of them. Nothing else stays in memory."""
        asked = np.arange(self.index.num_rows) if rows is None else np.asarray(rows, dtype=np.int64)
        files = np.array(self.index.column("file").to_pylist(), dtype=object)[asked]
        places = self.index.column("row").to_numpy()[asked]
        found: NDArray[Any] | None = None
        for name in dict.fromkeys(files):
            mine = files == name
            values = self._file(name)[places[mine]]
            if found is None:
                found = np.empty((len(asked), *values.shape[1:]), values.dtype)
            found[mine] = values
        return np.empty((0, len(self.layers), 0), self.plan.settings["precision"]) if found is None else found

    def sounds(self) -> Iterator[tuple[dict[str, Any], NDArray[Any]]]:
        """For each sound, its first row of the index and its vectors `(rows, layers, width)`."""
        items = self.index.column("item").to_numpy()
        edges = np.flatnonzero(np.diff(items, prepend=-1))
        for first, end in zip(edges, [*edges[1:], len(items)], strict=True):
            (row,) = self.index.slice(int(first), 1).to_pylist()
            yield row, self.vectors(np.arange(first, end))

    def _file(self, name: str) -> NDArray[Any]:
        if name not in self._open:
            self._open.clear()  # one at a time: a folder may be larger than memory
            path = self.folder / name
            if path.suffix == ".npy":
                self._open[name] = np.load(path, mmap_mode="r")
            elif path.suffix == ".npz":
                with np.load(path) as archive:
                    self._open[name] = archive["vectors"]
            else:
                from safetensors.numpy import load_file

                self._open[name] = load_file(path)["vectors"]
        return self._open[name]


def open_embeddings(folder: str | Path) -> Embeddings:
    """A folder that `auricle embed --out` wrote: `.index`, a pyarrow Table, and `.vectors(rows)`.

    Raises:
        InputError: it holds none.
    """
    return Embeddings(Path(folder))
