"""Nothing is heard or read twice that is still known, and no answer changes for it."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial
from pathlib import Path
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.api import Chat, Model, load
from auricle.checkpoint import Checkpoint
from auricle.engine.prefixes import WORTH, Clip, Prefixes, Read, keys_of
from auricle.engine.scheduler import ROWS_IN_COMPANY, Scheduler
from auricle.engine.store import Store
from auricle.errors import OptionError
from auricle.hub import ModelName, find
from auricle.layers.cache import SLACK
from auricle.quant.quantize import quantize
from auricle.sound.decode import decode
from auricle.types import Answer, Ask, Audio, Message, Sampling
from tests.checkpoints import make_checkpoint
from tests.engine.scripted import TellingCache, TellingFamily, asked, noise, request_for, together

PLACE = 303
WORDS = "These are the words that stand first, and they are worth keeping. "  # more than WORTH tokens


@pytest.fixture
def family(tmp_path: Path) -> TellingFamily:
    return TellingFamily(tmp_path)


@pytest.fixture
def scheduler(family: TellingFamily) -> Scheduler:
    return Scheduler(family, Store(10**9))


def ask(scheduler: Scheduler, *parts: str | Audio, **options: Any) -> Answer:
    return scheduler.result(scheduler.submit(request_for(scheduler.family, asked(*parts, **options))))


def tell(scheduler: Scheduler, messages: list[Message], **options: Any) -> Answer:
    one = Ask(tuple(messages), Sampling(**options))
    return scheduler.result(scheduler.submit(request_for(scheduler.family, one)))


def fresh(scheduler: Scheduler) -> Scheduler:
    return Scheduler(scheduler.family, Store(0))


# --- keys


def clip(seed: int, samples: int = 16_000) -> Clip:
    return Clip.of(noise(samples, seed).samples, -(-samples // 640))


def test_a_clip_is_known_by_its_content() -> None:
    assert clip(1) == clip(1)
    assert clip(1) != clip(2)
    samples = noise(32_000).samples
    assert Clip.of(samples[::2], 25) == Clip.of(samples[::2].copy(), 25)  # however it lies in memory
    changed = samples.copy()
    changed[-1] += 1e-6
    assert Clip.of(changed, 50) != Clip.of(samples, 50)
    assert Clip.of(np.append(samples, np.float32(0)), 50) != Clip.of(samples, 50)


def test_keys_of_a_prompt() -> None:
    keys = keys_of([5, PLACE, PLACE, 6, PLACE, 7], PLACE, [Clip(b"first 8 bytes", 2), Clip(b"another one", 1)])
    assert keys[[0, 3, 5]].tolist() == [5, 6, 7]
    assert (keys[[1, 2, 4]] < 0).all()
    assert keys[1] - keys[2] == 1  # places within a clip count
    assert keys_of([5, PLACE], PLACE, []).tolist() == [5, PLACE]  # sampled, and no sound


def test_sound_is_like_no_text_and_no_other_sound() -> None:
    keys = [clip(seed).keys() for seed in range(50)]
    assert len(np.unique(np.concatenate(keys))) == 50 * 25
    assert max(each.max() for each in keys) < 0
    last = Clip((2**62 - 3).to_bytes(8, "little"), 10).keys()  # where the numbers begin anew
    assert len(np.unique(last)) == 10
    assert last.max() < 0


def test_silenced_clips_are_alike_and_like_no_other() -> None:
    assert clip(1).silenced() == clip(2).silenced()
    assert clip(1).silenced().keys()[:10].tolist() == clip(2, 6400).silenced().keys().tolist()
    assert not np.isin(clip(1).keys(), clip(1).silenced().keys()).any()


# --- what is shared


def read(*keys: int | range, slack: int | None = None) -> Read:
    listed = np.concatenate([np.atleast_1d(np.array(key)) for key in keys]).astype(np.int64)
    cache = TellingCache(slack)
    for key in listed:
        cache.take(str(key).encode())
    return Read(listed, cache)


def test_what_is_shared_ends_at_the_first_difference() -> None:
    held = read(range(100))
    assert held.shared(np.arange(200)) == 100
    assert held.shared(np.arange(60)) == 59  # the last one has to be read in any case
    assert held.shared(np.arange(100)) == 99
    assert held.shared(np.concatenate([np.arange(50), [7], np.arange(51, 100)])) == 50
    assert held.shared(np.arange(1, 101)) == 0


def test_little_is_not_worth_a_copy() -> None:
    held = read(range(100))
    other = np.arange(100)
    for at, shared in ((WORTH - 1, 0), (WORTH, WORTH)):
        assert held.shared(np.concatenate([other[:at], [999], other[at:]])) == shared
    assert held.shared(np.arange(WORTH + 1)) == WORTH
    assert held.shared(np.arange(WORTH)) == 0


def test_no_more_is_shared_than_the_cache_holds_and_can_be_taken_back_to() -> None:
    held = read(range(100))
    held.cache.truncate(40)
    assert held.shared(np.arange(200)) == 40
    limited = read(range(100), slack=30)
    assert limited.shared(np.concatenate([np.arange(70), [-1] * 50])) == 70
    assert limited.shared(np.concatenate([np.arange(69), [-1] * 50])) == 0


def test_the_longest_beginning_is_found_and_counts_as_used() -> None:
    store = Store(100 * 450)
    prefixes = Prefixes(store)
    for end in (100, 200, 150):
        prefixes.keep(read(range(40), range(1000 + end, 1000 + end + 60), end, range(40)))  # 141 positions each
    found = prefixes.find(np.array([*range(40), *range(1200, 1260), 3, *range(40)]))
    assert found.length == 100
    prefixes.keep(read(range(50, 190)))  # drives out what was used longest ago: the first
    assert [other.keys[40] for _, other in store.items("prefix")] == [1150, 1200, 90]
    use = store.use()
    assert (use.prefix_hits, use.prefix_misses, use.reused_tokens, use.prefixes) == (1, 0, 100, 3)
    assert prefixes.find(np.arange(500, 600)) is None
    assert (store.use().prefix_misses, store.use().reused_tokens) == (1, 100)


def test_what_is_at_work_counts_as_well() -> None:
    prefixes = Prefixes(Store(10**6))
    prefixes.keep(read(range(50), 999))
    at_work = read(range(80))
    found = prefixes.find(np.arange(100), [at_work])
    assert found.length == 80
    assert found is not at_work.cache
    assert prefixes.find(np.arange(45), [at_work]).length == 44


def test_a_copy_goes_on_by_itself() -> None:
    prefixes = Prefixes(Store(10**6))
    prefixes.keep(read(range(50)))
    for _ in range(2):
        found = prefixes.find(np.arange(60))
        assert found.held == read(range(50)).cache.held
        found.take(b"other")


def test_what_goes_on_from_another_replaces_it() -> None:
    store = Store(10**6)
    prefixes = Prefixes(store)
    prefixes.keep(read(range(50)))
    prefixes.keep(read(range(60)))
    assert [len(other.keys) for _, other in store.items("prefix")] == [60]
    prefixes.keep(read(range(60)))
    prefixes.keep(read(range(40), range(100, 150)))
    assert [len(other.keys) for _, other in store.items("prefix")] == [60, 90]
    prefixes.keep(read(range(200), slack=100))  # which can't be taken back to where the first one ends
    assert [len(other.keys) for _, other in store.items("prefix")] == [60, 90, 200]


def test_a_beginning_that_is_never_worth_a_copy_is_not_kept() -> None:
    """As of requests that were given up before anything was read: of no bytes, and so of any number."""
    for capacity in (0, 10**6):
        store = Store(capacity)
        prefixes = Prefixes(store)
        for length in (0, 1, WORTH - 1):
            prefixes.keep(read(range(length)))
        assert store.use().prefixes == 0


def test_no_more_is_kept_than_is_known_of() -> None:
    """A request that was given up within a step has read a token that it doesn't know of, and the other way round."""
    store = Store(10**6)
    prefixes, held = Prefixes(store), read(range(50))
    held.cache.take(b"unknown")
    prefixes.keep(held)
    prefixes.keep(Read(np.arange(100, 200), read(range(100, 160)).cache))
    assert [len(other.keys) for _, other in store.items("prefix")] == [50, 60]


@settings(max_examples=100, deadline=None)
@given(st.lists(st.tuples(st.lists(st.integers(0, 1), min_size=35, max_size=60), st.integers(0, 100)), max_size=12))
def test_what_is_found_holds_what_reading_would_give(reads: list[tuple[list[int], int]]) -> None:
    """Of any prompts that agree for a while."""
    prefixes = Prefixes(Store(100 * 200))
    for extra, slack in reads:
        keys = np.array([*range(30), *sorted(extra)], dtype=np.int64)
        expected = read(*keys).cache.held
        found = prefixes.find(keys)
        if found is not None:
            assert WORTH <= found.length < len(keys)
            assert found.held == expected[: found.length]
        cache = found or TellingCache(slack)
        for key in keys[cache.length :]:
            cache.take(str(key).encode())
        assert cache.held == expected
        prefixes.keep(Read(keys, cache))


# --- encoded sound


def test_a_second_question_about_a_clip_does_not_encode_it_again(scheduler: Scheduler, family: TellingFamily) -> None:
    """With the text first it is read again, since other words stand before it."""
    sound = noise(16_000)
    first, second = ask(scheduler, "What is it?", sound), ask(scheduler, "Who is it?", sound)
    assert family.told("encode") == [25]
    assert (first.reused_clips, first.reused_tokens, second.reused_clips, second.reused_tokens) == (0, 0, 1, 0)
    assert second.tokens == ask(fresh(scheduler), "Who is it?", sound).tokens
    use = scheduler.prefixes.store.use()
    assert (use.clips, use.clip_hits, use.clip_misses) == (1, 1, 1)


def test_other_sound_of_the_same_length_is_encoded(scheduler: Scheduler, family: TellingFamily) -> None:
    first, second = (ask(scheduler, noise(16_000, seed), WORDS) for seed in (1, 2))
    assert family.told("encode") == [25, 25]
    assert (second.reused_clips, second.reused_tokens) == (0, 0)
    assert first.tokens != second.tokens == ask(fresh(scheduler), noise(16_000, 2), WORDS).tokens


def test_the_same_clip_twice_in_a_prompt_is_encoded_once(scheduler: Scheduler, family: TellingFamily) -> None:
    answer = ask(scheduler, "Which?", noise(16_000), noise(6400, 1), noise(16_000))
    assert family.told("encode") == [25, 10]
    assert answer.reused_clips == 1
    assert answer.tokens == ask(fresh(scheduler), "Which?", noise(16_000), noise(6400, 1), noise(16_000)).tokens


def test_what_was_heard_in_pieces_is_kept_as_well(scheduler: Scheduler, family: TellingFamily) -> None:
    family.lasts = None
    running = scheduler.chunks(scheduler.submit(request_for(family, asked("long", max_tokens=200))))
    next(running)
    ask(scheduler, "What?", noise(200_000), max_tokens=3)
    assert len(family.told("hear")) == 4
    assert ask(scheduler, "Who?", noise(200_000), max_tokens=3).reused_clips == 1
    assert len(family.told("hear")) == 4


def test_zeros_for_sound_are_never_mixed_up_with_sound(scheduler: Scheduler, family: TellingFamily) -> None:
    sound, other = noise(32_000), noise(32_000, 1)
    answers = [
        ask(scheduler, clip, WORDS, zero_audio=zero, max_tokens=5)
        for clip, zero in ((sound, False), (sound, True), (other, True), (sound, False), (other, False))
    ]
    heard, zeroed, zeroed_too, again, heard_other = (answer.tokens for answer in answers)
    assert heard == again
    assert zeroed == zeroed_too
    assert len({heard, zeroed, heard_other}) == 3
    assert [answer.reused_tokens > 50 for answer in answers] == [False, False, True, True, False]
    assert zeroed == ask(fresh(scheduler), sound, WORDS, zero_audio=True, max_tokens=5).tokens


# --- read prompts


def test_with_the_sound_first_a_second_question_reads_only_itself(scheduler: Scheduler, family: TellingFamily) -> None:
    sound = noise(64_000)
    ask(scheduler, sound, "What is it?", max_tokens=5)
    family.log.clear()
    second = ask(scheduler, sound, "Who is it?", max_tokens=1)
    assert second.reused_tokens == 101  # what opens the turn, and 100 of sound
    assert second.reused_clips == 1
    assert family.log == [("read", {next(iter(family.told("read")[0])): second.prompt_tokens - 101})]
    assert second.tokens == ask(fresh(scheduler), sound, "Who is it?", max_tokens=1).tokens


def test_a_conversation_reads_each_turn_once(scheduler: Scheduler, family: TellingFamily) -> None:
    family.lasts = None
    messages, known = [Message("user", (WORDS, noise(32_000)))], 0
    for turn in range(6):
        answer = tell(scheduler, messages, max_tokens=20)
        assert answer.tokens == tell(fresh(scheduler), messages, max_tokens=20).tokens
        assert answer.reused_tokens >= known
        assert answer.reused_clips == (turn > 0)
        known = answer.prompt_tokens - 1
        messages += [Message("assistant", (answer.text,)), Message("user", (f"And {turn}?",))]
    assert scheduler.prefixes.store.use().prefixes <= 6


def test_an_answer_is_kept_with_its_prompt(scheduler: Scheduler) -> None:
    request = scheduler.submit(request_for(scheduler.family, asked(WORDS, max_tokens=20)))
    answer = scheduler.result(request)
    ((_, kept),) = scheduler.prefixes.store.items("prefix")
    assert kept.keys.tolist() == [*request.prompt.ids, *answer.tokens[:-1]]  # the last one was never read
    assert kept.cache.length == len(kept.keys)


def test_the_order_of_a_prompt_is_kept(scheduler: Scheduler, family: TellingFamily) -> None:
    """Whatever else would find more in the caches."""
    first, second = noise(64_000), noise(64_000, 1)
    ask(scheduler, first, second, "What?")
    swapped = ask(scheduler, second, first, "What?")
    assert (swapped.reused_tokens, swapped.reused_clips) == (0, 2)
    assert swapped.tokens == ask(fresh(scheduler), second, first, "What?").tokens


def test_too_far_back_is_read_anew(family: TellingFamily) -> None:
    family.slack, family.lasts = 60, None
    scheduler = Scheduler(family, Store(10**9))
    for words, reused in ((20, True), (100, False)):
        ask(scheduler, WORDS, f"What? {words}", max_tokens=words)
        again = ask(scheduler, WORDS, "Who?", max_tokens=10)
        assert (again.reused_tokens > WORTH) == reused
        assert again.tokens == ask(fresh(scheduler), WORDS, "Who?", max_tokens=10).tokens
        scheduler.prefixes.store.clear()


def test_the_least_used_goes_when_the_bytes_are_full(family: TellingFamily) -> None:
    scheduler = Scheduler(family, Store(40_000))
    for number in range(20):
        ask(scheduler, f"{number} {WORDS}", noise(6400, number), max_tokens=5)
        use = scheduler.prefixes.store.use()
        assert 0 < use.bytes <= 40_000
    assert 1 < use.prefixes < 10
    assert ask(scheduler, f"19 {WORDS}", noise(6400, 19), max_tokens=5).reused_tokens > 50
    assert ask(scheduler, f"0 {WORDS}", noise(6400, 0), max_tokens=5).reused_tokens == 0


def test_without_a_cache_nothing_is_kept_or_shared(family: TellingFamily) -> None:
    scheduler = Scheduler(family, Store(0))
    requests = [scheduler.submit(request_for(family, asked(noise(64_000), WORDS))) for _ in range(3)]
    for answer in map(scheduler.result, requests):
        assert (answer.reused_tokens, answer.reused_clips) == (0, 0)
    given_up = scheduler.chunks(scheduler.submit(request_for(family, asked(noise(64_000), WORDS))))
    next(given_up)
    given_up.close()
    assert family.told("encode")[0] == 100
    assert sum(family.told("encode")) * 640 + sum(family.told("hear")) == 4 * 64_000
    use = scheduler.prefixes.store.use()
    assert (use.bytes, use.clips, use.prefixes, use.clip_hits, use.prefix_hits, use.reused_tokens) == (0,) * 6


def test_questions_at_once_on_one_clip_hear_and_read_it_once(scheduler: Scheduler, family: TellingFamily) -> None:
    family.lasts, sound = None, noise(480_000)
    asks = [asked(sound, f"Question {number}?", max_tokens=40) for number in range(5)]
    requests = [scheduler.submit(request_for(family, one)) for one in asks]
    answers = [scheduler.result(request) for request in requests]
    assert family.told("encode") == [750]
    assert family.told("hear") == []
    assert [answer.reused_clips for answer in answers] == [0, 1, 1, 1, 1]
    assert all(answer.reused_tokens > 750 for answer in answers[1:])
    assert sum(sum(rows.values()) for rows in family.told("read")) < 750 + 5 * (20 + 40)
    for one, answer in zip(asks, answers, strict=True):
        quiet = fresh(scheduler)
        assert answer.tokens == quiet.result(quiet.submit(request_for(family, one))).tokens


@pytest.mark.parametrize("steps", range(1, 10))
def test_of_a_prompt_that_another_is_reading_what_is_there_is_taken(family: TellingFamily, steps: int) -> None:
    """Also up to the middle of a clip, and where a shorter clip stands behind a longer one."""
    scheduler = Scheduler(family, Store(10**9))
    family.lasts = None
    running = scheduler.chunks(scheduler.submit(request_for(family, asked("long", max_tokens=100))))
    next(running)
    sounds = noise(100_000), noise(640, 1), noise(9_000, 2), noise(641, 3)
    first = scheduler.submit(request_for(family, asked(*sounds, "What is it?", max_tokens=5)))
    for _ in range(steps):
        scheduler.advance(first)
    ahead = asked(*sounds, "Who is it?", max_tokens=5, priority=1)
    answer = scheduler.result(scheduler.submit(request_for(family, ahead)))
    quiet = fresh(scheduler)
    assert answer.tokens == quiet.result(quiet.submit(request_for(family, ahead))).tokens
    heard, whole = 5, 1 + 157 + 1 + 15 + 2  # steps; positions
    assert answer.reused_tokens == min(max(0, steps - heard) * ROWS_IN_COMPANY, whole)
    scheduler.cancel(first)


def questions(random: Random, sounds: list[Audio], texts: list[str]) -> Iterator[list[Message]]:
    """Some questions about a few sounds, and further turns of conversations."""
    conversations: list[list[Message]] = []
    while True:
        if conversations and random.random() < 0.5:
            turn = random.choice(conversations)
            turn.append(Message("user", (random.choice(texts),)))
        else:
            clips = random.choices(sounds, k=random.choice([0, 1, 1, 2, 3]))
            text = random.choice(texts)
            turn = [Message("user", (*clips, text) if random.random() < 0.6 else (text, *clips))]
            conversations.append(turn)
        yield turn


TEXTS = ["What?", WORDS, WORDS + "Who is it?", WORDS * 2 + "What?", "And then? " * 60]


@pytest.mark.parametrize("seed", range(20))
def test_any_questions_and_turns_get_the_answers_they_get_without_caches(family: TellingFamily, seed: int) -> None:
    random = Random(seed)
    family.slack = random.choice([None, 150, 600])
    scheduler = Scheduler(family, Store(random.choice([30_000, 100_000, 10**9])))
    sounds = [noise(length, seed) for seed, length in enumerate([161, 640, 9_000, 64_000, 120_000])]
    conversations = questions(random, sounds, TEXTS)
    for _ in range(25):
        messages = next(conversations)
        tokens = random.choice([1, 20, 200])
        answer = tell(scheduler, messages, max_tokens=tokens)
        assert answer.tokens == tell(fresh(scheduler), messages, max_tokens=tokens).tokens
        messages.append(Message("assistant", (answer.text,)))
    assert scheduler.prefixes.store.use().prefix_hits > 0


# --- on models


@pytest.fixture(scope="module")
def folders(e2b: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    parent = tmp_path_factory.mktemp("checkpoints")
    tiny = find(ModelName("tiny"))
    # A trained one for the packed: random weights make another answer of the last bit of a sum, which the rounding of
    # activations to 8 bits makes a step of; and these are rounded apart where a prompt is cut in two.
    quantize(Checkpoint(tiny), "int4", parent / "int4")
    return {"e2b": e2b, "e4b": make_checkpoint(parent / "e4b", family="e4b"), "tiny": tiny, "int4": parent / "int4"}


@pytest.mark.parametrize(("name", "megabytes"), [("e2b", 256), ("e4b", 3), ("tiny", 256), ("int4", 8)])
def test_a_model_answers_with_its_caches_as_without(folders: dict[str, Path], name: str, megabytes: float) -> None:
    """Also past the sliding window, and farther than a sliding layer can be taken back."""
    random, model = Random(name), load(str(folders[name]), cache_mb=megabytes)
    without = load(str(folders[name]), cache_mb=0)
    spoken = decode("examples/sentence.wav")
    sounds = [Audio(spoken.samples[:length], spoken.rate, f"{length}") for length in (200, 6_000, 30_000, 60_000)]
    conversations = questions(random, sounds, [*TEXTS[:4], "And?" * 250])
    for turn in range(15):
        messages, tokens = next(conversations), SLACK + 60 if turn == 5 else random.choice([1, 20])
        *_, last = model.chat(messages, max_tokens=tokens)
        *_, expected = without.chat(messages, max_tokens=tokens)
        assert last.answer is not None
        assert expected.answer is not None
        assert last.answer.tokens == expected.answer.tokens
        messages.append(Message("assistant", (last.answer.text,)))
        if sum(len(part) for message in messages for part in message.parts if isinstance(part, str)) > 3000:
            conversations = questions(random, sounds, TEXTS)
    assert model.cache.prefix_hits > 2
    assert model.cache.clip_hits > 0
    assert (without.cache.bytes, without.cache.prefix_hits) == (0, 0)


@pytest.mark.parametrize("name", ["e2b", "int4"])
def test_far_past_the_window_a_beginning_is_read_anew(folders: dict[str, Path], name: str) -> None:
    """Sliding layers have dropped it: what they hold instead must not be taken for it."""
    model, without = load(str(folders[name])), load(str(folders[name]), cache_mb=0)
    model.backend.family.stop_ids = frozenset()  # type: ignore[attr-defined]
    sound, enough = noise(64_000), 2 * SLACK
    model.ask(sound, WORDS, order="audio-first", max_tokens=enough)
    model.backend.family.stop_ids = without.backend.family.stop_ids  # type: ignore[attr-defined]
    again = model.ask(sound, "Who?", order="audio-first", max_tokens=20)
    assert (again.reused_tokens, again.reused_clips) == (0, 1)
    assert again.tokens == without.ask(sound, "Who?", order="audio-first", max_tokens=20).tokens
    assert model.ask(sound, "What?", order="audio-first", max_tokens=20).reused_tokens > 100


def test_a_chat_reuses_its_turns_and_shows_it(folders: dict[str, Path]) -> None:
    model, without = load(str(folders["e2b"])), load(str(folders["e2b"]), cache_mb=0)
    chat, other = Chat(model, noise(32_000)), Chat(without, noise(32_000))
    for turn in range(4):
        *_, last = chat.say(f"{WORDS}{turn}?", max_tokens=15)
        *_, expected = other.say(f"{WORDS}{turn}?", max_tokens=15)
        assert last.answer is not None
        assert expected.answer is not None
        assert last.answer.tokens == expected.answer.tokens
        assert (last.answer.reused_tokens > 60 * turn) == (turn > 0)
    use = model.cache
    assert (use.clips, use.clip_misses, use.prefix_hits, use.prefix_misses) == (1, 1, 3, 1)
    assert use.reused_tokens > 300
    assert 0 < use.bytes <= use.capacity == 256_000_000


def test_threads_that_ask_about_one_clip_have_it_encoded_once(
    folders: dict[str, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    model: Model = load(str(folders["e2b"]))
    family, heard = model.backend.family, []  # type: ignore[attr-defined]
    encode = family.model.encode
    monkeypatch.setattr(
        family.model, "encode", lambda mel, **state: (heard.append(mel.shape[1]), encode(mel, **state))[1]
    )
    calls = [partial(model.ask, noise(320_000), f"What is {n}?", order="audio-first", max_tokens=9) for n in range(6)]
    answers = together(*calls)
    assert sum(heard) == 1999
    assert sorted(answer.reused_clips for answer in answers) == [0, 1, 1, 1, 1, 1]


@pytest.mark.parametrize("megabytes", [-1, float("nan"), float("inf")])
def test_a_size_that_is_none_is_refused(megabytes: float) -> None:
    with pytest.raises(OptionError, match="cache_mb is"):
        load("tiny", cache_mb=megabytes)
