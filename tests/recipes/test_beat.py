"""What the recipe tells a model of rhythm while it learns."""

from __future__ import annotations

import numpy as np
import torch

from auricle.audiolm.data.splits import Splitter
from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.lm import AudioLM
from recipes.audiolm import beat
from recipes.audiolm.melodies import TEMPI

BPM = 120.0  # an eighth is 12.5 frames


def test_what_is_told_of_a_frame() -> None:
    found = beat.told(BPM, [0.11, 0.61, 1.11, 2.11], 150, 50.0)
    since, length, tempo, phase = found.T.tolist()
    assert set(tempo) == {TEMPI.index(BPM)}
    assert since[:5] == [beat.UNKNOWN] * 5
    assert since[5:32] == [*range(25), 0, 1]
    assert since[149] == 149 - 105
    assert length[:30] == [beat.UNKNOWN] * 30  # the first note's length is known when the second begins
    assert length[30:105] == [12] * 75
    assert length[110] == 25
    assert phase[6] == 0
    assert phase[6 + 6] == 4  # 0.13 s of 0.25 are passed
    assert phase[17] == phase[42] == 7


def test_a_batch_keeps_what_is_told_beside_its_codes() -> None:
    codes = [torch.randint(0, 32, (frames, 4)) for frames in (40, 60)]
    told = [beat.told(BPM, [0.1, 0.4], len(one), 50.0) for one in codes]
    rng = np.random.default_rng(0)
    split = [Splitter((0.2, 0.7)).split(torch.cat([one, more], 1), rng) for one, more in zip(codes, told, strict=True)]
    batch = Batch.of([one.prompt for one in split], [one.target for one in split])
    labels, known = beat._laid_out(batch, 4)
    assert known.sum(1).tolist() == [40, 60]
    for row, more in enumerate(told):
        assert torch.equal(labels[row][known[row]], more)


def test_the_model_learns_from_what_it_tells() -> None:
    torch.manual_seed(0)
    lm = AudioLM(32, 2, 5, nar_layers=1, dropout=0.0, codebook_size=32)
    guided = beat.Guided(lm)
    codes = torch.cat([torch.randint(0, 32, (60, 4)), beat.told(BPM, [0.1, 0.4], 60, 50.0)], 1)
    split = Splitter((0.4, 0.4)).split(codes, np.random.default_rng(0))
    batch = Batch.of([split.prompt], [split.target])
    total, counted = guided(batch, 1)
    total.backward()
    assert set(beat.TASKS) <= set(counted)
    assert float(total.detach()) > counted["loss"]
    assert all(float(head.weight.grad.abs().sum()) > 0 for head in guided.heads.values())  # type: ignore[union-attr]
