"""The packed layouts, read byte by byte as the files' heads describe them: slow, and none of the code under test."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

Numbers = NDArray[np.float64]


def int4(packed: dict[str, Tensor], out: int, width: int) -> Numbers:
    weight, scales = packed["weight"].numpy(), packed["scales"].double().numpy()
    whole = np.empty((out, width))
    for row in range(out):
        block, lane = divmod(row, 16)
        for column in range(width):
            group, i = divmod(column, 32)
            high, j = divmod(i, 16)
            byte = int(weight[block, group, 64 * (j // 4) + 4 * lane + j % 4])
            nibble = byte >> 4 if high else byte & 0xF
            whole[row, column] = (nibble - 8) * scales[block, group, lane]
    return whole


def int8(packed: dict[str, Tensor], out: int, width: int) -> Numbers:
    weight, scales = packed["weight"].numpy(), packed["scales"].double().numpy()
    whole = np.empty((out, width))
    for row in range(out):
        block, lane = divmod(row, 16)
        for column in range(width):
            group, i = divmod(column, 32)
            whole[row, column] = int(weight[block, group, 64 * (i // 4) + 4 * lane + i % 4]) * scales[block, lane]
    return whole


def int8_rows(packed: dict[str, Tensor], rows: int, width: int) -> Numbers:
    weight, scales = packed["weight"].numpy(), packed["scales"].double().numpy()
    return np.array([[int(weight[row, i]) * scales[row] for i in range(width)] for row in range(rows)])


def int4_rows(packed: dict[str, Tensor], rows: int, width: int) -> Numbers:
    weight, scales = packed["weight"].numpy(), packed["scales"].double().numpy()
    whole = np.empty((rows, width))
    for row in range(rows):
        for column in range(width):
            group, i = divmod(column, 32)
            high, j = divmod(i, 16)
            byte = int(weight[row, 16 * group + j])
            whole[row, column] = ((byte >> 4 if high else byte & 0xF) - 8) * scales[row, group]
    return whole
