"""The tiny model's training data: what it promises about words, voices, times and sounds."""

from __future__ import annotations

import ctypes
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from recipes.tiny import espeak, sentences, sounds, synth, voices
from recipes.tiny.instruments import INSTRUMENTS, RATE


def _has_espeak() -> bool:
    try:
        ctypes.CDLL(espeak.LIBRARY)
    except OSError:
        return False
    return True


needs_espeak = pytest.mark.skipif(not _has_espeak(), reason=f"{espeak.LIBRARY} is missing (apt-get install espeak-ng)")


def _rng(seed: int) -> np.random.Generator:
    return np.random.default_rng(seed)


# ---- words and sentences


def test_vocabulary_is_plain_words() -> None:
    words = sentences.vocabulary()
    assert len(set(words)) == len(words)
    assert all(word.isascii() and word.isalpha() and word.islower() for word in words)


@needs_espeak
@pytest.mark.parametrize("voice", ["en-us", "en"])
def test_no_two_words_sound_alike(voice: str) -> None:
    assert sentences.homophones(voice) == []


def test_every_word_is_covered() -> None:
    rng = _rng(0)
    counts = Counter(word for _ in range(6000) for word in sentences.sentence(rng).split())
    assert set(counts) == set(sentences.vocabulary())
    assert min(counts.values()) >= np.mean(list(counts.values())) / 3


def test_sentences_have_one_to_fourteen_words() -> None:
    rng = _rng(1)
    lengths = Counter(len(sentences.sentence(rng).split()) for _ in range(2000))
    assert set(lengths) == set(range(1, 15))
    assert 0.16 < lengths[1] / 2000 < 0.24


def test_training_never_says_a_held_out_sentence() -> None:
    rng = _rng(2)
    train = {sentences.sentence(rng) for _ in range(3000)}
    heldout = {sentences.sentence(rng, "heldout") for _ in range(300)} | set(sentences.heldout_list())
    assert not train & heldout
    assert all(" " in text for text in heldout)


def test_hand_written_sentences_use_the_vocabulary() -> None:
    assert len(set(sentences.heldout_list())) == 60
    assert not {word for text in sentences.heldout_list() for word in text.split()} - set(sentences.vocabulary())


# ---- voices


def _variant(voice: str) -> str:
    return voice.partition("+")[2]


def test_held_out_variants_are_apart() -> None:
    rng = _rng(3)
    train = {_variant(voices.delivery(rng).voice) for _ in range(2000)}
    heldout = {_variant(voices.delivery(rng, "heldout").voice) for _ in range(200)}
    assert heldout == set(voices.HELD_OUT)
    assert train == {voices.DEFAULT, *voices.NUMBERED, *voices.NAMED}
    assert not train & heldout


def test_a_third_speaks_at_the_defaults() -> None:
    rng = _rng(4)
    plain = sum(d == voices.Delivery(d.voice) for d in (voices.delivery(rng) for _ in range(1500)))
    assert 0.28 < plain / 1500 < 0.40


# ---- speech


@needs_espeak
def test_unknown_voice_is_an_error() -> None:
    with pytest.raises(espeak.EspeakError, match="no voice 'klingon-x'"):
        espeak.speak("hello", "klingon-x")


@needs_espeak
def test_word_times_ascend_within_the_clip() -> None:
    rng = _rng(5)
    for clip, _ in zip(synth.speech_clips(rng, "train"), range(40), strict=False):
        edges = [edge for _, start, end in clip.words for edge in (start, end)]
        assert [word for word, _, _ in clip.words] == clip.text.split()
        assert edges == sorted(edges)
        assert edges[0] >= 0
        assert edges[-1] <= len(clip.audio)
        starts = [start for _, start in clip.phonemes]
        assert starts == sorted(starts)


@needs_espeak
def test_words_lie_where_the_sound_is() -> None:
    clip = synth.spoken("six sheep", voices.Delivery("en-us"))
    assert clip is not None
    (_, first, middle), (_, _, last) = clip.words
    power = clip.audio.astype(np.float64) ** 2
    assert power[first:last].sum() > 0.99 * power.sum()
    assert 0.3 < (middle - first) / (last - first) < 0.6


@needs_espeak
def test_words_that_espeak_runs_together_are_told_apart() -> None:
    clip = synth.spoken("put the clock on the table", voices.Delivery("en-us"))
    assert clip is not None
    on, the = clip.words[3], clip.words[4]
    assert (on[0], the[0]) == ("on", "the")
    assert on[2] == the[1]
    assert all(end - start > 0.03 * RATE for _, start, end in (on, the))


@needs_espeak
def test_a_shard_is_whole_and_is_not_written_twice(tmp_path: Path) -> None:
    name = synth.make_shard(("speech", 0, 5), tmp_path, seed=7)
    samples = np.load(tmp_path / f"{name}.npy", mmap_mode="r")
    records = [json.loads(line) for line in (tmp_path / f"{name}.jsonl").open()]
    assert samples.dtype == np.int16
    assert [record["start"] for record in records] == list(np.cumsum([0] + [r["samples"] for r in records[:-1]]))
    assert records[-1]["start"] + records[-1]["samples"] == len(samples)
    assert {record["split"] for record in records} == {"train"}
    written = (tmp_path / f"{name}.jsonl").stat().st_mtime_ns
    synth.make_shard(("speech", 0, 5), tmp_path, seed=7)
    assert (tmp_path / f"{name}.jsonl").stat().st_mtime_ns == written


# ---- other sounds


def _dbfs(samples: np.ndarray) -> float:
    return float(10 * np.log10(np.mean(samples.astype(np.float64) ** 2) + 1e-20))


def _strongest_bin(samples: np.ndarray) -> float:
    """The share of the energy in the strongest of the frequencies (in a window of one second)."""
    power = np.abs(np.fft.rfft(samples[:RATE] * np.hanning(len(samples[:RATE])))) ** 2
    return float(power.max() / power.sum())


@pytest.mark.parametrize("kind", sounds.KINDS)
def test_sounds_are_bounded_and_repeat(kind: str) -> None:
    for seed in range(15):
        sound = sounds.MAKERS[kind](_rng(seed))
        assert sound.kind == kind
        assert (sound.instrument in INSTRUMENTS) == (kind == "music")
        assert sound.samples.dtype == np.float32
        assert np.isfinite(sound.samples).all()
        assert np.abs(sound.samples).max() <= 1
        assert 0.02 * RATE <= len(sound.samples) <= 10.2 * RATE
        np.testing.assert_array_equal(sound.samples, sounds.MAKERS[kind](_rng(seed)).samples)


def test_draws_follow_their_shares(monkeypatch: pytest.MonkeyPatch) -> None:
    empty = np.zeros(1, dtype=np.float32)
    for name in sounds.KINDS:  # what is drawn matters here, not its sound
        monkeypatch.setitem(sounds.MAKERS, name, lambda rng, name=name: sounds.Sound(empty, name))
    rng = _rng(6)
    kinds = Counter(sounds.draw(rng).kind for _ in range(2000))
    assert all(abs(kinds[kind] / 2000 - share) < 0.04 for kind, share in sounds.KINDS.items())


def test_silence_is_below_its_limit() -> None:
    levels = [_dbfs(sounds.silence(_rng(seed)).samples) for seed in range(60)]
    assert max(levels) < sounds.SILENCE_DBFS
    assert any(level == -200 for level in levels)  # digital zeros
    assert any(level > -200 for level in levels)  # faint noise


@pytest.mark.parametrize("kind", ["music", "tone", "noise"])
def test_what_is_not_silence_is_well_above_it(kind: str) -> None:
    for seed in range(25 if kind == "music" else 150):
        assert _dbfs(sounds.MAKERS[kind](_rng(seed)).samples) > sounds.SILENCE_DBFS + 5


def test_tones_have_a_pitch_and_noise_has_none() -> None:
    tones = [_strongest_bin(sounds.tone(_rng(seed), 1.0).samples) for seed in range(60)]
    noises = [_strongest_bin(sounds.noise(_rng(seed), 1.0).samples) for seed in range(60)]
    assert np.median(tones) > 0.2
    assert np.median(noises) < 0.05


@pytest.mark.parametrize("name", INSTRUMENTS)
def test_single_notes_decay_or_last(name: str) -> None:
    instrument = INSTRUMENTS[name]
    changes = []
    for seed in range(8):
        rng = _rng(seed)
        frequency = float(rng.uniform(instrument.low, min(instrument.high, 880)))
        note = instrument.note(rng, frequency, 1.5, 0.8)
        assert np.abs(note).max() == pytest.approx(0.8, rel=1e-5)
        held = note[: int(1.5 * RATE)]
        part = len(held) // 4
        changes.append(_dbfs(held[-part:]) - _dbfs(held[part : 2 * part]))
    struck = name in ("piano", "guitar", "bells", "drums")
    assert np.median(changes) < -3 if struck else abs(np.median(changes)) < 3
