"""Audio tokens, from samples to the decoder's width, against transformers."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from tests.parity.pair import Pair, difference
from tests.parity.sounds import KINDS, babble, clicks, noise, tone

BOUND = 1e-4
CHUNK = 12 * 640  # samples of one attention chunk


@pytest.mark.parametrize("kind", KINDS)
def test_kinds_of_sound(pair: Pair, kind: str) -> None:
    clip = KINDS[kind](40_000)
    assert difference(pair.encoded([clip]), pair.reference_encoded([clip])) <= BOUND


# One token; the last length before and the first after a token more; the same for the borders of attention chunks
# and for how far back a chunk sees.
LENGTHS = sorted(
    {161, 800, 801, 1440, 1441, 16_000, 16_001, 100_003, 480_000}
    | {chunks * CHUNK + 160 + extra for chunks in (1, 2, 3) for extra in (-640, 0, 1, 640, 641)}
)


@pytest.mark.parametrize("samples", LENGTHS)
def test_lengths(pair: Pair, samples: int) -> None:
    clip = babble(samples)
    ours = pair.encoded([clip])
    assert len(ours) == pair.ours.audio_tokens(samples)
    assert difference(ours, pair.reference_encoded([clip])) <= BOUND


def test_every_count_of_frames_in_a_chunk_and_a_bit(pair: Pair) -> None:
    for frames in range(1, 60):
        clip = noise(161 + 160 * (frames - 1), seed=frames)
        assert difference(pair.encoded([clip]), pair.reference_encoded([clip])) <= BOUND, frames


@pytest.mark.slow
def test_every_residue_of_a_length(pair: Pair) -> None:
    for samples in range(9_000, 9_640):
        clip = noise(samples, seed=samples)
        assert difference(pair.encoded([clip]), pair.reference_encoded([clip])) <= BOUND, samples


def test_unequal_clips_in_a_batch(pair: Pair) -> None:
    """Padded together they give what the reference gives for that batch, and what each gives alone."""
    clips = [babble(33_333), tone(161), babble(33_661), clicks(80_001), noise(8_161)]
    features = [torch.from_numpy(pair.ours.features(clip)) for clip in clips]
    # The convolutions meet what is past a clip's end in another way for each of these.
    assert {len(mel) % 4 for mel in features} == {0, 1, 2, 3}
    frames = torch.tensor([len(mel) for mel in features])
    mel = torch.nn.utils.rnn.pad_sequence(features, batch_first=True)
    with torch.inference_mode():
        batch = pair.ours.model.encode(mel, frames)
    tokens = [pair.ours.audio_tokens(len(clip)) for clip in clips]
    ours = torch.cat([row[:count] for row, count in zip(batch, tokens, strict=True)])
    assert difference(ours, pair.reference_encoded(clips)) <= BOUND
    assert difference(ours, pair.encoded(clips)) <= BOUND


def test_what_stands_in_the_padding_does_not_matter(pair: Pair) -> None:
    mel = torch.randn(2, 60, 128, generator=torch.Generator().manual_seed(1))
    frames = torch.tensor([60, 33])
    with torch.inference_mode():
        ours = pair.ours.model.encode(mel, frames)
        mel[1, 33:] = 1000.0
        assert difference(pair.ours.model.encode(mel, frames)[:, :9], ours[:, :9]) == 0.0


def test_the_encoder_hears(pair: Pair) -> None:
    """Guards the bounds above: the numbers compared are of the size 1 and differ between sounds."""
    one, other = pair.encoded([babble(40_000)]), pair.encoded([noise(40_000)])
    assert 0.3 < float(one.std()) < 3
    assert difference(one, other) > 0.5
    assert np.isfinite(one.numpy()).all()
