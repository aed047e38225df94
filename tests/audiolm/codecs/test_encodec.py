"""Our EnCodec against transformers', and in pieces against the whole."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from transformers import EncodecModel as Reference

from auricle.audiolm.codecs import encodec, load_codec
from auricle.audiolm.codecs.encodec_config import EncodecConfig
from auricle.errors import AuricleError, CheckpointError, OptionError, SoundError
from tests.audiolm.codecs.conftest import MUSIC, make_encodec

LENGTHS = (1, 100, 640, 641, 64_000, 64_123)


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(count).normal(0, 0.3, count).astype(np.float32)


def reference_codes(model: Reference, samples: np.ndarray) -> np.ndarray:
    x = torch.from_numpy(samples)[None, None]
    with torch.no_grad():
        codes = model.quantizer.encode(model.encoder(x), max(model.config.target_bandwidths))
    return codes[:, 0].T.numpy()


def reference_sound(model: Reference, codes: np.ndarray) -> np.ndarray:
    with torch.no_grad():
        return model.decode(torch.from_numpy(codes.T.copy())[None, None], [None])[0][0, 0].numpy()


@pytest.mark.parametrize("kind", ["music", "speech"])
def test_codes_and_sound_are_the_reference_s(kind: str, request: pytest.FixtureRequest) -> None:
    folder = request.getfixturevalue(kind)
    ours, theirs = load_codec(str(folder)), Reference.from_pretrained(folder).eval()
    for length in LENGTHS:
        codes = ours.encode(noise(length))
        assert codes.shape == (-(-length // ours.frame), ours.codebooks)
        np.testing.assert_array_equal(codes, reference_codes(theirs, noise(length)))
        np.testing.assert_allclose(ours.decode(codes), reference_sound(theirs, codes), atol=1e-6)


@pytest.mark.parametrize("kind", ["music", "speech"])
def test_pieces_give_what_the_whole_gives(
    kind: str, request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> None:
    codec = load_codec(str(request.getfixturevalue(kind)))
    samples = noise(90 * codec.frame + 17)
    codes, sound = codec.encode(samples), codec.decode(codec.encode(samples))
    monkeypatch.setattr(encodec, "PIECE", 7)
    np.testing.assert_array_equal(codec.encode(samples), codes)
    np.testing.assert_allclose(codec.decode(codes), sound, atol=1e-6)


@pytest.mark.parametrize("causal", [False, True])
def test_pieces_of_a_codec_that_sees_many_frames(causal: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    settings = {**MUSIC, "kernel_size": 13, "last_kernel_size": 11, "use_causal_conv": causal}
    codec = load_codec(str(make_encodec(tmp_path / "codec", **settings)))
    samples = noise(60 * codec.frame)
    codes, sound = codec.encode(samples), codec.decode(codec.encode(samples))
    monkeypatch.setattr(encodec, "PIECE", 5)
    np.testing.assert_array_equal(codec.encode(samples), codes)
    np.testing.assert_allclose(codec.decode(codes), sound, atol=1e-6)


def test_a_stream_gives_samples_a_few_frames_after_their_codes(music: Path) -> None:
    codec = load_codec(str(music))
    codes = codec.encode(noise(50 * codec.frame))
    stream, parts = codec.stream(), []
    for i in range(50):
        parts.append(stream.push(codes[i : i + 1]))
        assert sum(map(len, parts)) >= (i - 8) * codec.frame
    parts.append(stream.finish())
    np.testing.assert_allclose(np.concatenate(parts), codec.decode(codes), atol=1e-6)


def test_older_spelling_of_weight_norm(music: Path, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(music, tmp_path / "old"))
    state = load_file(folder / "model.safetensors")
    old = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): tensor
        for name, tensor in state.items()
    }
    assert any("weight_g" in name for name in old)
    save_file(old, folder / "model.safetensors", metadata={"format": "pt"})
    samples = noise(3200)
    np.testing.assert_array_equal(load_codec(str(folder)).encode(samples), load_codec(str(music)).encode(samples))


def test_fewer_codebooks_decode(music: Path) -> None:
    codec = load_codec(str(music))
    codes = codec.encode(noise(6400))
    assert codec.decode(codes[:, :2]).shape == (6400,)
    assert np.abs(codec.decode(codes[:, :2]) - codec.decode(codes)).max() > 1e-4


def test_the_32_khz_model_has_four_codebooks_and_50_frames_a_second() -> None:
    config = EncodecConfig(
        sampling_rate=32_000, target_bandwidths=(2.2,), codebook_size=2048, upsampling_ratios=(8, 5, 4, 4)
    )
    assert (config.codebooks, config.frame, config.sampling_rate / config.frame) == (4, 640, 50)


@pytest.mark.parametrize(
    ("codes", "message"),
    [
        (np.full((3, 4), 2048), "2048 is no code of"),
        (np.full((3, 4), -1), "-1 is no code of"),
        (np.zeros((3, 5), int), r"whole numbers of shape \(frames, 4\)"),
        (np.zeros((3, 4)), "float64"),
        (np.zeros(12, int), r"of shape \(12,\)"),
    ],
)
def test_codes_that_are_none(music: Path, codes: np.ndarray, message: str) -> None:
    with pytest.raises(OptionError, match=message):
        load_codec(str(music)).decode(codes)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        (np.zeros((2, 640), np.float32), r"mono samples.*\(2, 640\)"),
        (np.zeros(0, np.float32), "at least one"),
        (np.array([0, np.nan], np.float32), "not finite"),
    ],
)
def test_samples_that_are_no_sound(music: Path, samples: np.ndarray, message: str) -> None:
    with pytest.raises(SoundError, match=message):
        load_codec(str(music)).encode(samples)


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"audio_channels": 2}, "2 channels"),
        ({"normalize": True}, "normalised"),
        ({"norm_type": "time_group_norm"}, "time_group_norm"),
        ({"pad_mode": "replicate"}, "replicate"),
        ({"codebook_dim": 7}, "codebooks 7 wide"),
        ({"target_bandwidths": [0.1]}, "no codebook"),
        ({"upsampling_ratios": 3}, "can't be used"),
        ({"model_type": "whisper"}, "is no codec but a whisper"),
    ],
)
def test_configs_that_are_refused(music: Path, tmp_path: Path, settings: dict[str, object], message: str) -> None:
    folder = Path(shutil.copytree(music, tmp_path / "other"))
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | settings))
    with pytest.raises(CheckpointError, match=message):
        load_codec(str(folder))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda state: state.pop("decoder.layers.0.conv.bias"), "lacks the tensor decoder.layers.0.conv.bias"),
        (lambda state: state.update(extra=torch.zeros(1)), "no place for: extra"),
        (lambda state: state.update({"decoder.layers.0.conv.bias": torch.zeros(3)}), r"of shape \(3,\)"),
    ],
)
def test_damaged_weights(music: Path, tmp_path: Path, change: object, message: str) -> None:
    folder = Path(shutil.copytree(music, tmp_path / "damaged"))
    state = load_file(folder / "model.safetensors")
    change(state)  # type: ignore[operator]
    save_file(state, folder / "model.safetensors")
    with pytest.raises(CheckpointError, match=message):
        load_codec(str(folder))


def test_a_name_that_is_nothing() -> None:
    with pytest.raises(AuricleError, match="no-such-codec"):
        load_codec("no-such-codec")


@pytest.mark.slow
def test_full_size(tmp_path: Path) -> None:
    """All 57 million parameters of the 32 kHz model, random: the same codes, the same sound."""
    from tests.audiolm.codecs.conftest import MUSIC, make_encodec

    folder = make_encodec(tmp_path / "full", **{**MUSIC, "num_filters": 64, "hidden_size": 128})
    ours, theirs = load_codec(str(folder)), Reference.from_pretrained(folder).eval()
    samples = noise(64_123)
    codes = ours.encode(samples)
    agree = (codes == reference_codes(theirs, samples)).mean()
    assert agree > 0.99  # a frame halfway between two entries may fall to either side
    np.testing.assert_allclose(ours.decode(codes), reference_sound(theirs, codes), atol=1e-5)
