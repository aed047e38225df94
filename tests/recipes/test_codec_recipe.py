"""The codec's recipe: a few steps of it run, go on, and make a folder that we and transformers load."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from transformers import EncodecModel as Reference

from auricle.audiolm.codecs import load_codec
from auricle.audiolm.codecs.encodec_model import Quantizer
from recipes.audiolm import train_codec
from recipes.audiolm.export_codec import export
from recipes.audiolm.quantize import LearningQuantizer, perplexities
from recipes.audiolm.train_codec import CONFIG, train


def test_from_nothing_to_a_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(train_codec, "BATCH", 2)
    monkeypatch.setattr(train_codec, "BEGUN", 12)
    work, out = tmp_path / "work", tmp_path / "codec"
    train(work, steps=2, clips=3, warm=1, held_out=2)
    train(work, steps=3, clips=3, warm=1, held_out=2)  # goes on
    assert torch.load(work / "codec.pt", weights_only=True)["step"] == 3
    export(work, out)
    samples = np.random.default_rng(0).normal(0, 0.2, 32_000).astype(np.float32)
    codes = load_codec(str(out)).encode(samples)
    theirs = Reference.from_pretrained(out, dtype=torch.float32).eval()
    with torch.no_grad():
        found = theirs.encode(torch.from_numpy(samples)[None, None], bandwidth=2.0).audio_codes[0, 0].T.numpy()
    assert codes.shape == (50, 4)
    assert (codes == found).mean() > 0.98  # float16 weights leave some frames halfway between two entries


def test_codebooks_move_to_what_chooses_them_and_none_is_left_unused() -> None:
    torch.manual_seed(0)
    learning = LearningQuantizer(Quantizer(replace(CONFIG, codebook_size=32, target_bandwidths=(1.0,))))
    centres = torch.randn(8, CONFIG.hidden_size) * 5
    generator = torch.Generator().manual_seed(0)

    def latents() -> torch.Tensor:
        return (centres[torch.randint(8, (2000,))] + torch.randn(2000, CONFIG.hidden_size)).T[None]

    learning.begin([latents()[0].T])
    before = latents()
    for _ in range(20):
        learning(latents(), generator)
    learning.eval()
    codes = learning.quantizer.encode(before)
    apart = (learning.quantizer.decode(codes) - before).square().mean()
    assert apart < 1.0  # the variance around each centre; centres alone would leave that
    assert min(perplexities(codes[0], 32)) > 0.5 * 32


def test_the_gradient_goes_straight_through() -> None:
    learning = LearningQuantizer(Quantizer(CONFIG)).eval()
    x = torch.randn(1, CONFIG.hidden_size, 5, requires_grad=True)
    y, _ = learning(x, torch.Generator().manual_seed(0))
    y.sum().backward()
    assert x.grad is not None
    torch.testing.assert_close(x.grad, torch.ones_like(x))
