"""Where long sounds are cut, how their chunks are joined, and pooling: on numbers alone."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from auricle.engine.joining import Chunk, Vectors, chunks_of
from auricle.models.gemma4.features import FeatureConfig

TOKEN, MOST = 640, 750
LONGEST = TOKEN * MOST


def cut(samples: int, shared: int = 125) -> list[Chunk]:
    return chunks_of(samples, token=TOKEN, most=MOST, shared=shared, longest=LONGEST, tokens_of=FeatureConfig().tokens)


# --- chunks


@pytest.mark.parametrize("samples", [161, 16_000, LONGEST])
def test_a_sound_of_a_clip_is_one_chunk(samples: int) -> None:
    assert cut(samples) == [Chunk(0, slice(0, samples), 0, None)]


def test_70_seconds() -> None:
    found = cut(70 * 16_000)
    assert [(chunk.samples.start / 16_000, chunk.samples.stop / 16_000) for chunk in found] == [
        (0, 30),
        (25, 55),
        (50, 70),
    ]
    assert [chunk.first for chunk in found] == [0, 687, 1312]  # 27.48 and 52.48 s: in the middle, on the grid
    assert [chunk.end for chunk in found] == [687, 1312, None]


@settings(max_examples=300, deadline=None)
@given(samples=st.integers(161, 20 * LONGEST), shared=st.integers(0, MOST - 1))
def test_every_token_is_kept_once_and_every_sample_heard(samples: int, shared: int) -> None:
    if samples > 3 * LONGEST:
        shared = min(shared, 700)  # else there are thousands of chunks
    found, config = cut(samples, shared), FeatureConfig()
    kept: list[int] = []
    for chunk in found:
        length = chunk.samples.stop - chunk.samples.start
        assert chunk.samples.start == chunk.start * TOKEN
        assert length <= LONGEST
        tokens = config.tokens(length)
        part = chunk.kept(tokens, 1)
        assert 0 <= part.start < part.stop <= tokens
        kept += range(chunk.start + part.start, chunk.start + part.stop)
    assert kept == list(range(len(kept)))
    assert abs(len(kept) - config.tokens(samples)) <= 1  # as many as the whole would give; its end may round otherwise
    assert samples - found[-1].samples.stop <= 160  # what is too short for a token of its own


def test_a_seam_gives_each_chunk_what_is_around_it() -> None:
    first, second, *_ = cut(70 * 16_000)
    assert first.end is not None
    assert first.start + MOST - first.end == 63  # tokens of the first that are dropped behind the seam
    assert second.first - second.start == 62  # and of the second before it


def test_where_the_encoder_is_finer_the_seams_are_at_the_same_times() -> None:
    first, second, *_ = cut(70 * 16_000)
    assert first.kept(1500, 2) == slice(0, 2 * 687)
    assert second.kept(1500, 2) == slice(2 * 62, 2 * 687)
    assert cut(70 * 16_000)[-1].kept(999, 2).stop == 999  # all up to the last


# --- pooling


def vectors(count: int, origin_s: float = 0.0, step_s: float = 0.04) -> Vectors:
    values = np.random.default_rng(0).standard_normal((2, count, 5)).astype(np.float32)
    times = origin_s + np.arange(count + 1) * step_s
    return Vectors(values, times[:-1], times[1:], ("audio",) * count)


@pytest.mark.parametrize("pooling", ["mean", "max", "last"])
def test_one_vector_for_all(pooling: str) -> None:
    all_ = vectors(33, origin_s=3.0)
    found = all_.pooled(pooling, None, 3.0)
    expected = {"mean": all_.values.mean(1), "max": all_.values.max(1), "last": all_.values[:, -1]}[pooling]
    np.testing.assert_allclose(found.values[:, 0], expected, atol=1e-6)
    assert found.values.shape == (2, 1, 5)
    np.testing.assert_allclose([found.start_s[0], found.end_s[0]], [3.0, 3.0 + 33 * 0.04])
    assert found.kinds == ("audio",)


def test_none_leaves_all_as_they_are() -> None:
    all_ = vectors(3)
    assert all_.pooled("none", None, 0.0) is all_


@pytest.mark.parametrize("origin_s", [0.0, 12.34])
@pytest.mark.parametrize(
    ("seconds", "counts"),
    [
        (1.0, [25, 25, 13]),
        (0.04, [1] * 63),
        (0.12, [3] * 21),  # 0.12 // 0.04 is 2 in floating point
        (0.1, [3, 2] * 12 + [3]),  # by where a token starts
        (2.52, [63]),
        (100.0, [63]),
    ],
)
def test_windows(seconds: float, counts: list[int], origin_s: float) -> None:
    all_ = vectors(63, origin_s)
    found = all_.pooled(f"window={seconds}", seconds, origin_s)
    ends = np.cumsum(counts)
    expected = [all_.values[:, end - count : end].mean(1) for count, end in zip(counts, ends, strict=True)]
    np.testing.assert_allclose(found.values, np.stack(expected, axis=1), atol=1e-6)
    np.testing.assert_allclose(found.start_s, origin_s + np.arange(len(counts)) * seconds)
    np.testing.assert_allclose(found.end_s[:-1], found.start_s[1:])
    assert found.end_s[-1] == pytest.approx(origin_s + min(len(counts) * seconds, 63 * 0.04))


def test_a_pooled_vector_says_what_it_is_of() -> None:
    audio = vectors(2, origin_s=1.0)
    nothing = np.full(2, np.nan)
    text = Vectors(audio.values, nothing, nothing, ("text", "text"))
    mixed = Vectors.joined([text, audio]).pooled("mean", None, 0.0)
    assert mixed.kinds == ("all",)
    np.testing.assert_allclose([mixed.start_s[0], mixed.end_s[0]], [1.0, 1.08])
    alone = text.pooled("mean", None, 0.0)
    assert alone.kinds == ("text",)
    assert np.isnan(alone.start_s).all()
    assert np.isnan(alone.end_s).all()


def test_a_mean_over_an_hour_loses_nothing() -> None:
    """Added up in float32, 90,000 of these would be off in the third digit."""
    values = np.full((1, 90_000, 1), 1000.1, dtype=np.float32)
    times = np.arange(90_001) * 0.04
    found = Vectors(values, times[:-1], times[1:], ("audio",) * 90_000).pooled("mean", None, 0.0)
    assert found.values[0, 0, 0] == np.float32(1000.1)
