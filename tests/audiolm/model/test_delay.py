"""The delay pattern and back."""

from __future__ import annotations

import pytest
import torch

from auricle.audiolm.model.delay import delayed, restored


def test_the_picture_of_the_docstring() -> None:
    frames = torch.tensor([[[10, 11, 12, 13], [20, 21, 22, 23], [30, 31, 32, 33]]])
    assert delayed(frames, torch.tensor([3]), 6, -1)[0].T.tolist() == [
        [10, 20, 30, -1, -1, -1],
        [-1, 11, 21, 31, -1, -1],
        [-1, -1, 12, 22, 32, -1],
        [-1, -1, -1, 13, 23, 33],
    ]


def test_what_is_read_comes_a_step_later_than_what_is_predicted() -> None:
    codes = torch.randint(0, 9, (2, 5, 4))
    lens = torch.tensor([5, 3])
    read, predicted = delayed(codes, lens, 8, -1, late=1), delayed(codes, lens, 8, -1)
    assert torch.equal(read[:, 1:], predicted[:, :-1])
    assert (read[:, 0] == -1).all()


@pytest.mark.parametrize("streams", [1, 2, 4])
def test_there_and_back(streams: int) -> None:
    codes = torch.randint(0, 9, (3, 6, streams))
    assert torch.equal(restored(delayed(codes, torch.tensor([6, 6, 6]), 6 + streams - 1, -1), 6), codes)


def test_further_dimensions_come_along() -> None:
    values = torch.rand(2, 5, 3, 2)
    lens = torch.tensor([5, 2])
    both = delayed(values, lens, 7, 0.5)
    for part in range(2):
        assert torch.equal(both[..., part], delayed(values[..., part], lens, 7, 0.5))
