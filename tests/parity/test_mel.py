"""Mel frames and token counts against transformers' feature extractor."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from auricle.models.gemma4.features import FeatureConfig, log_mel
from tests.parity.pair import difference
from tests.parity.sounds import KINDS, Samples, noise

CONFIG = FeatureConfig()
LONGEST = 480_000
# The count of frames changes every 160 samples, that of tokens every 640; the reference pads to multiples of 128.
# So 640 consecutive lengths meet every case.
RESIDUES = 640


def reference(extractor: Any, samples: Samples) -> tuple[np.ndarray, np.ndarray]:
    """Features `(padded frames, mels)` and the mask of the valid ones."""
    out = extractor([samples], return_tensors="np")
    return out["input_features"][0], out["input_features_mask"][0]


def check(extractor: Any, samples: Samples) -> None:
    features, mask = reference(extractor, samples)
    ours = log_mel(samples)
    assert len(ours) == mask.sum() == CONFIG.frames(len(samples)), len(samples)
    assert difference(ours, features[mask]) <= 1e-5, len(samples)
    # The two strided convolutions take every second frame of the mask, twice.
    assert CONFIG.tokens(len(samples)) == mask[::2][::2].sum(), len(samples)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("samples", [161, 320, 321, 480, 481, 16_000, 100_001])
def test_kinds_of_sound(extractor: Any, kind: str, samples: int) -> None:
    check(extractor, KINDS[kind](samples))


def test_every_length_up_to_a_few_tokens(extractor: Any) -> None:
    sound = noise(161 + 2 * RESIDUES)
    for samples in range(161, 161 + 2 * RESIDUES):
        check(extractor, sound[:samples])


@pytest.mark.parametrize("samples", [LONGEST - RESIDUES, LONGEST - 321, LONGEST - 1, LONGEST])
def test_the_longest_clips(extractor: Any, samples: int) -> None:
    check(extractor, noise(samples))


@pytest.mark.slow
@pytest.mark.parametrize("start", [16_000, 239_777, LONGEST - RESIDUES + 1])
def test_every_residue_of_long_clips(extractor: Any, start: int) -> None:
    sound = noise(start + RESIDUES)
    for samples in range(start, start + RESIDUES):
        check(extractor, sound[:samples])


def test_token_count_of_every_length(extractor: Any) -> None:
    from transformers import Gemma4Processor

    processor = SimpleNamespace(feature_extractor=extractor, audio_seq_length=750)
    for samples in range(LONGEST + 1):
        theirs = Gemma4Processor._compute_audio_num_tokens(processor, range(samples), 16_000)
        assert CONFIG.tokens(samples) == theirs, samples


@pytest.mark.parametrize(("samples", "tokens"), [(160, 0), (161, 1), (16_000, 25), (LONGEST, 750)])
def test_known_counts(samples: int, tokens: int) -> None:
    assert CONFIG.tokens(samples) == tokens
