"""What was computed and may be needed again, bounded in bytes: what was used longest ago goes first."""

from __future__ import annotations

import threading
from collections import OrderedDict
from collections.abc import Hashable, Iterator
from dataclasses import dataclass
from typing import Any, Literal

from auricle.errors import OptionError
from auricle.types import CacheUse

Kind = Literal["audio", "prefix"]


@dataclass
class _Entry:
    value: Any
    nbytes: int


class Store:
    """Encoded audio and read prompts of one model, which share `capacity` bytes; 0 keeps nothing.

    Usable from several threads. What is taken out is shared: nobody may change it.
    """

    def __init__(self, capacity: int) -> None:
        if capacity < 0:
            raise OptionError(f"the cache has {capacity} bytes; it must have at least 0 (0 keeps nothing)")
        self.capacity = capacity
        self.reused_tokens = 0
        self._lock = threading.RLock()  # a request that is collected as garbage here is let go of, and kept here
        self._entries: OrderedDict[tuple[Kind, Hashable], _Entry] = OrderedDict()  # the one used last is the last
        self._hits: dict[Kind, int] = {"audio": 0, "prefix": 0}
        self._misses: dict[Kind, int] = {"audio": 0, "prefix": 0}

    def put(self, kind: Kind, key: Hashable, value: Any, nbytes: int) -> None:
        """Keeps a value, and drops what has no room beside it; one that is larger than all room is not kept."""
        with self._lock:
            self._entries.pop((kind, key), None)
            if nbytes > self.capacity:
                return
            self._entries[kind, key] = _Entry(value, nbytes)
            while sum(entry.nbytes for entry in self._entries.values()) > self.capacity:
                self._entries.popitem(last=False)

    def get(self, kind: Kind, key: Hashable) -> Any | None:
        """The value of a key, which counts as used now."""
        with self._lock:
            entry = self._entries.get((kind, key))
            if entry is None:
                return None
            self._entries.move_to_end((kind, key))
            return entry.value

    def drop(self, kind: Kind, key: Hashable) -> None:
        with self._lock:
            self._entries.pop((kind, key), None)

    def items(self, kind: Kind) -> Iterator[tuple[Hashable, Any]]:
        """All of a kind, as they are now."""
        with self._lock:
            held = [(key, entry.value) for (found, key), entry in self._entries.items() if found == kind]
        yield from held

    def count(self, kind: Kind, *, hit: bool) -> None:
        """Notes whether something that was looked for was here."""
        with self._lock:
            (self._hits if hit else self._misses)[kind] += 1

    def clear(self) -> None:
        with self._lock:
            self._entries.clear()

    def use(self) -> CacheUse:
        """Sizes and hits so far."""
        with self._lock:
            kinds = [kind for kind, _ in self._entries]
            return CacheUse(
                bytes=sum(entry.nbytes for entry in self._entries.values()),
                capacity=self.capacity,
                clips=kinds.count("audio"),
                clip_hits=self._hits["audio"],
                clip_misses=self._misses["audio"],
                prefixes=kinds.count("prefix"),
                prefix_hits=self._hits["prefix"],
                prefix_misses=self._misses["prefix"],
                reused_tokens=self.reused_tokens,
            )
