"""A model that makes sound, with its codec."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from auricle.audiolm.loading import load_audiolm
from auricle.audiolm.making import continue_audio, continuing, infill_audio, restyle_audio
from auricle.audiolm.making.source import frames_before
from auricle.audiolm.model.sampling import TokenSampling
from auricle.errors import CheckpointError, HubError, InputError, OptionError
from auricle.types import Audio
from tests.audiolm.making.small import FRAME, RATE, make_audiolm
from tests.sound.making import tone

SOUND = Audio(tone(220, 1.5, RATE), RATE, "tone.wav")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_audiolm(tmp_path_factory.mktemp("models") / "lm")


def test_a_folder_and_that_of_a_training_run(folder: Path, tmp_path: Path) -> None:
    lm, codec = load_audiolm(folder)
    assert (codec.rate, codec.codebooks, codec.size) == (RATE, 2, 64)
    assert lm.config.max_frames == 60
    assert not lm.training
    shutil.copytree(folder, tmp_path / "exp" / "best")
    again = load_audiolm(tmp_path / "exp").lm
    assert all(torch.equal(a, b) for a, b in zip(lm.state_dict().values(), again.state_dict().values(), strict=True))


def test_a_codec_that_lies_in_the_model_s_folder(folder: Path, tmp_path: Path) -> None:
    """Both can be moved together."""
    moved = shutil.copytree(folder, tmp_path / "lm")
    shutil.copytree(folder.parent / "codec", moved / "codec")
    _with(moved, codec="codec")
    assert load_audiolm(moved).codec.codebooks == 2


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        (
            {"num_quantizers": 4},
            "was trained on 4 codebooks of 64 at 50 frames a second, and its codec .* has 2 codebooks of 64 at 50",
        ),
        (
            {"codebook_size": 32},
            "trained on 2 codebooks of 32 at 50 frames a second, and its codec .* 2 codebooks of 64",
        ),
        ({"frame_rate": 75.0}, "at 75 frames a second, and its codec .* at 50 frames a second"),
        ({"codec": "nowhere"}, "no model 'nowhere'"),
    ],
)
def test_a_codec_that_is_another(tmp_path: Path, fields: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        load_audiolm(make_audiolm(tmp_path / "lm", **fields))


def test_a_frame_rate_that_a_manifest_rounded(tmp_path: Path) -> None:
    assert load_audiolm(make_audiolm(tmp_path / "lm", frame_rate=50.000001)).codec.frame_rate == 50.0


def test_what_makes_no_sound(folder: Path) -> None:
    with pytest.raises(CheckpointError, match=r"tiny makes no sound \(it is of the type 'gemma4'\): name an AudioLM"):
        load_audiolm("tiny")
    with pytest.raises(CheckpointError, match=r"makes no sound \(it is of the type 'encodec'\)"):
        load_audiolm(folder.parent / "codec")
    with pytest.raises(HubError, match="no model 'nowhere'"):
        load_audiolm("nowhere")


def test_device_and_type(folder: Path) -> None:
    assert load_audiolm(folder, dtype="bfloat16").lm.ar_predict_layer.weight.dtype == torch.bfloat16
    assert load_audiolm(folder, device="cpu").lm.ar_predict_layer.weight.dtype == torch.float32
    with pytest.raises(OptionError, match="unknown device 'abacus'"):
        load_audiolm(folder, device="abacus")
    with pytest.raises(OptionError, match="threads is 0"):
        load_audiolm(folder, threads=0)


class TestMaking:
    """The whole way, with networks."""

    def test_continued(self, folder: Path) -> None:
        loaded = load_audiolm(folder)
        made = continue_audio(SOUND, 2.0, model=loaded, seed=1)
        assert len(made.audio.samples) == round(3.5 * RATE)
        kept = len(SOUND.samples) - round(0.03 * RATE)
        assert made.audio.samples[:kept].tobytes() == SOUND.samples[:kept].tobytes()
        assert made.codes.shape == (100, 2)
        again = continue_audio(SOUND, 2.0, model=str(folder), seed=1)
        assert made.audio.samples.tobytes() == again.audio.samples.tobytes()
        assert made.audio.samples.tobytes() != continue_audio(SOUND, 2.0, model=loaded, seed=2).audio.samples.tobytes()

    def test_what_is_new_is_what_the_decoder_says_of_all_codes(self, folder: Path) -> None:
        """Pieces come from a stream that has run in on the original: as if all had been decoded at once."""
        _, codec = loaded = load_audiolm(folder)
        made = continue_audio(SOUND, 1.0, model=loaded, seed=1)
        heard = frames_before(SOUND.samples, len(SOUND.samples), 24, codec)
        whole = codec.decode(np.concatenate([heard, made.codes]))
        np.testing.assert_allclose(made.only_new.samples, whole[24 * FRAME :], atol=1e-5)

    def test_variants_are_those_of_their_seeds(self, folder: Path) -> None:
        loaded = load_audiolm(folder)
        variants = continuing(SOUND, 2.0, model=loaded, seed=5).variants(3)
        for made in variants:
            alone = continue_audio(SOUND, 2.0, model=loaded, seed=made.seed)
            np.testing.assert_array_equal(made.codes, alone.codes)
        assert len({made.codes.tobytes() for made in variants}) == 3

    def test_filled(self, folder: Path) -> None:
        made = infill_audio(SOUND, (0.5, 0.9), model=str(folder), seed=1)
        blind = infill_audio(SOUND, (0.5, 0.9), model=str(folder), seed=1, from_left_only=True)
        assert len(made.audio.samples) == len(SOUND.samples)
        assert made.codes.shape == blind.codes.shape == (20, 2)
        assert made.codes.tobytes() != blind.codes.tobytes(), "what is after the gap was heard"

    def test_restyled(self, folder: Path) -> None:
        loaded, other = load_audiolm(folder), Audio(tone(700, 1.0, RATE), RATE, "other.wav")
        plain = continue_audio(SOUND, 1.0, model=loaded, seed=1)
        styled, strong, none = (
            restyle_audio(SOUND, other, 1.0, model=loaded, seed=1, style_strength=s, like_seconds=0.4)
            for s in (1, 3, 0)
        )
        assert len({made.codes.tobytes() for made in (plain, styled, strong)}) == 3
        np.testing.assert_array_equal(none.codes, plain.codes)

    @pytest.mark.parametrize("pattern", ["ar-nar", "delay"])
    def test_every_pattern_and_option(self, tmp_path: Path, pattern: str) -> None:
        folder = make_audiolm(tmp_path / "lm", pattern=pattern)
        sampling = TokenSampling(0.9, 10, 0.9, 2.0, repetition_window=5, nar="sampled", seed=3)
        made = continue_audio(SOUND, 0.5, model=folder, sampling=sampling)
        assert made.codes.shape == (25, 2)


def _with(folder: Path, **fields: object) -> None:
    path = folder / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **fields}))


def test_a_run_that_has_no_best_model_yet(tmp_path: Path) -> None:
    (tmp_path / "checkpoint").mkdir()
    with pytest.raises(CheckpointError, match="is a training run without a best model yet, which its first validation"):
        load_audiolm(tmp_path)
