"""The longest beginning of a prompt that was already read: by an earlier turn, another question, or a request at work.

A prompt is compared by keys, one a position: of text the token's id, of sound a number made from the clip's content and
the place within it. So the same words after other sound are no match, whatever the placeholders say. What is found is
copied, and reading goes on behind it: for greedy decoding the answer is the same, token for token.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import count
from typing import Any

import numpy as np
from numpy.typing import NDArray

from auricle.engine.store import Store

WORTH = 32  # positions; a copy of keys and values costs as much as reading so many again
_SPAN = 1 << 62  # numbers that stand for a position of sound

Keys = NDArray[np.int64]


@dataclass(frozen=True)
class Clip:
    """One clip of a prompt, by its content."""

    digest: bytes
    tokens: int

    @classmethod
    def of(cls, samples: NDArray[np.float32], tokens: int) -> Clip:
        return cls(hashlib.blake2b(np.ascontiguousarray(samples).data, digest_size=16).digest(), tokens)

    def silenced(self) -> Clip:
        """Of a clip whose tokens are replaced by zeros: all of these are alike."""
        return Clip(b"", self.tokens)

    def keys(self) -> Keys:
        """`(tokens,)`, all negative."""
        start = int.from_bytes(self.digest[:8], "little") % _SPAN
        return -1 - (start + np.arange(self.tokens, dtype=np.int64)) % _SPAN


def keys_of(ids: Sequence[int], placeholder: int, clips: Sequence[Clip]) -> Keys:
    """The keys of a prompt: `(positions,)`. `ids` holds one placeholder for each token of each clip."""
    keys = np.array(ids, dtype=np.int64)
    if clips:
        keys[keys == placeholder] = np.concatenate([clip.keys() for clip in clips])
    return keys


@dataclass
class Read:
    """What somebody has read: the keys of as many positions as the cache holds, or more."""

    keys: Keys
    cache: Any  # models.family.PromptCache

    def __post_init__(self) -> None:
        self.head = self.keys[:WORTH].tobytes()  # what others have to begin with: told apart far faster than keys

    def shared(self, keys: Keys) -> int:
        """How many of these positions can be taken over; the last one has to be read in any case."""
        most = min(len(self.keys), len(keys) - 1, self.cache.length)
        other = np.flatnonzero(self.keys[:most] != keys[:most])
        length = int(other[0]) if len(other) else most
        return length if length >= max(WORTH, self.cache.shortest) else 0


class Prefixes:
    """What was read before, in a store."""

    def __init__(self, store: Store) -> None:
        self.store = store
        self._numbers = count()

    def find(self, keys: Keys, at_work: Iterable[Read] = ()) -> Any | None:
        """A cache of its own that holds the longest beginning known; None where none is worth it.

        Args:
            at_work: what requests that are not done have read.
        """
        if not self.store.capacity:
            return None
        head = keys[:WORTH].tobytes()
        known = [*self.store.items("prefix"), *((None, read) for read in at_work)]
        found = [(read.shared(keys), number, read) for number, read in known if read.head == head]
        length, number, read = max(found, key=lambda one: one[0], default=(0, None, None))
        self.store.count("prefix", hit=length > 0)
        if not length or read is None:
            return None
        if number is not None:
            self.store.get("prefix", number)  # used now
        self.store.reused_tokens += length
        return read.cache.fork(length)

    def keep(self, read: Read) -> None:
        """Keeps what somebody has read and doesn't need any more; whatever it makes superfluous goes."""
        read = Read(read.keys[: read.cache.length], read.cache)
        if len(read.keys) < WORTH or read.cache.nbytes > self.store.capacity:
            return
        for number, other in self.store.items("prefix"):
            if other.head != read.head:
                continue
            within = len(other.keys) <= len(read.keys) and bool((read.keys[: len(other.keys)] == other.keys).all())
            if within and read.cache.shortest <= max(WORTH, other.cache.shortest):
                self.store.drop("prefix", number)
        self.store.put("prefix", next(self._numbers), read, read.cache.nbytes)
