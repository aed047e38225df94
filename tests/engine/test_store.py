"""What is kept, what goes first, and what is counted."""

from __future__ import annotations

import gc
from collections import OrderedDict
from functools import partial
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.engine.store import Store
from auricle.errors import OptionError
from auricle.types import CacheUse
from tests.engine.scripted import together


def test_what_was_put_is_there() -> None:
    store = Store(100)
    store.put("audio", b"a", "tokens", 10)
    store.put("prefix", b"a", "read", 20)
    assert (store.get("audio", b"a"), store.get("prefix", b"a")) == ("tokens", "read")
    assert store.get("audio", b"b") is None
    assert list(store.items("audio")) == [(b"a", "tokens")]
    assert list(store.items("prefix")) == [(b"a", "read")]


def test_what_was_used_longest_ago_goes_first() -> None:
    store = Store(30)
    for key in "abc":
        store.put("audio", key, key, 10)
    store.get("audio", "a")
    list(store.items("audio"))  # looking at all is no use of any
    store.put("prefix", "d", "d", 10)
    assert [key for key, _ in store.items("audio")] == ["c", "a"]
    store.put("audio", "c", "c", 25)  # in place of its own value; the others have no room beside it
    assert [value for _, value in (*store.items("audio"), *store.items("prefix"))] == ["c"]
    assert store.use().bytes == 25


def test_what_is_larger_than_all_room_is_not_kept_and_drives_out_nothing() -> None:
    store = Store(30)
    store.put("audio", "a", "a", 10)
    store.put("audio", "b", "b", 31)
    assert [key for key, _ in store.items("audio")] == ["a"]
    store.put("audio", "a", "a", 31)  # nor its own former value, which is no longer true
    assert store.use().clips == 0
    store.put("audio", "c", "c", 30)
    assert store.get("audio", "c") == "c"


def test_no_room_keeps_nothing() -> None:
    store = Store(0)
    store.put("audio", "a", "a", 1)
    assert store.use() == CacheUse(0, 0, 0, 0, 0, 0, 0, 0, 0)
    with pytest.raises(OptionError, match="-1 bytes; it must have at least 0"):
        Store(-1)


def test_items_may_be_dropped_while_one_goes_through_them() -> None:
    store = Store(100)
    for key in range(10):
        store.put("prefix", key, key, 1)
    for key, _ in store.items("prefix"):
        store.drop("prefix", key)
        store.drop("prefix", "never there")
        store.put("audio", key, key, 1)
    assert (store.use().prefixes, store.use().clips) == (0, 10)
    store.clear()
    assert store.use().bytes == 0


def test_hits_and_sizes() -> None:
    store = Store(100)
    store.put("audio", "a", "a", 7)
    store.put("prefix", "p", "p", 8)
    store.count("audio", hit=True)
    for hit in (True, False, False):
        store.count("prefix", hit=hit)
    store.reused_tokens += 40
    assert store.use() == CacheUse(
        bytes=15,
        capacity=100,
        clips=1,
        clip_hits=1,
        clip_misses=0,
        prefixes=1,
        prefix_hits=1,
        prefix_misses=2,
        reused_tokens=40,
    )


Actions = st.lists(
    st.tuples(
        st.sampled_from(["put", "put", "get", "drop"]), st.sampled_from("abcdef"), st.booleans(), st.integers(0, 60)
    )
)


@settings(max_examples=300, deadline=None)
@given(actions=Actions, capacity=st.integers(0, 100))
def test_it_is_a_list_in_order_of_use(actions: list[Any], capacity: int) -> None:
    store, model = Store(capacity), OrderedDict[tuple[str, str], int]()
    for action, key, audio, nbytes in actions:
        kind: Any = "audio" if audio else "prefix"
        if action == "put":
            store.put(kind, key, nbytes, nbytes)
            model.pop((kind, key), None)
            if nbytes <= capacity:
                model[kind, key] = nbytes
                while sum(model.values()) > capacity:
                    del model[next(iter(model))]
        elif action == "get":
            assert store.get(kind, key) == model.get((kind, key))
            if (kind, key) in model:
                model.move_to_end((kind, key))
        else:
            store.drop(kind, key)
            model.pop((kind, key), None)
        assert store.use().bytes == sum(model.values()) <= capacity
        for each in ("audio", "prefix"):
            held = [(key, size) for (found, key), size in model.items() if found == each]
            assert list(store.items(each)) == held  # type: ignore[arg-type]


def test_several_threads() -> None:
    store = Store(50)

    def use(seed: int) -> bool:
        random = Random(seed)
        for _ in range(3000):
            kind, key = random.choice(["audio", "prefix"]), random.randrange(20)
            store.put(kind, key, key, random.randrange(20))  # type: ignore[arg-type]
            assert store.get(kind, random.randrange(20)) in (None, *range(20))  # type: ignore[arg-type]
            assert all(key == value for key, value in store.items(kind))  # type: ignore[arg-type]
            assert 0 <= store.use().bytes <= 50
            store.count("audio", hit=True)
        return True

    assert all(together(*(partial(use, seed) for seed in range(4))))
    assert store.use().clip_hits == 4 * 3000


def test_it_may_be_used_by_what_is_collected_while_it_is_used() -> None:
    """The end of a request that nobody holds any more, which keeps what it has read."""
    store = Store(100)

    class Dropped:
        def __init__(self) -> None:
            self.itself = self

        def __del__(self) -> None:
            store.put("prefix", "dropped", 1, 1)

    class Key:
        def __hash__(self) -> int:
            gc.collect()
            return 1

    def use() -> bool:
        Dropped()
        store.put("audio", Key(), 1, 1)
        return True

    assert together(use, seconds=10) == [True]
    assert (store.use().prefixes, store.use().clips) == (1, 1)
