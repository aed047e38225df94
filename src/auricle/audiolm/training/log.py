"""What a run writes down as it goes: `log.jsonl`, and the same for TensorBoard.

A run that goes on after a kill makes the steps behind its last checkpoint again, so their old lines are dropped first.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from auricle.errors import CheckpointError
from auricle.jobs.extras import needed
from auricle.jobs.folder import replaced

LOG, TENSORBOARD = "log.jsonl", "tensorboard"


class Log:
    """The records of a run, each a step's or a validation's: `{"kind": "step", "step": 10, ...}`.

    Args:
        folder: of the run.
        step: the last step that counts: what was written of later ones is dropped.
        tensorboard: whether to write for it too.

    Raises:
        UnsupportedError: TensorBoard is wanted and not installed.
    """

    def __init__(self, folder: Path, step: int, *, tensorboard: bool) -> None:
        self.records = read_log(folder, step)
        self._path = folder / LOG
        replaced(self._path, "".join(_line(one) for one in self.records).encode())
        self._stream = self._path.open("a", encoding="utf-8")
        self._board: Any = None
        if tensorboard:
            check_tensorboard()
            from torch.utils.tensorboard import SummaryWriter

            self._board = SummaryWriter(str(folder / TENSORBOARD), purge_step=step + 1)

    def add(self, record: dict[str, Any]) -> None:
        """Writes a record at once: whoever follows the file sees it."""
        self.records.append(record)
        self._stream.write(_line(record))
        self._stream.flush()
        if self._board is not None:
            self._show(record)

    def close(self) -> None:
        self._stream.close()
        if self._board is not None:
            self._board.close()

    def _show(self, record: dict[str, Any]) -> None:
        step, kind = record["step"], record["kind"]
        for name, value in record.items():
            if name == "cross_entropy":
                for book, one in enumerate(value):
                    if one is not None:
                        self._board.add_scalar(f"{kind}/cross_entropy_{book}", one, step)
            elif isinstance(value, int | float) and name != "step":
                self._board.add_scalar(f"{kind}/{name}", value, step)
        self._board.flush()


def check_tensorboard() -> None:
    """
    Raises:
        UnsupportedError: it isn't installed.
    """
    needed("tensorboard", "the log for TensorBoard", "train")


def read_log(folder: Path, step: int | None = None) -> list[dict[str, Any]]:
    """The records of a run's log up to a step; none where there is no log. A last line that a kill cut is left out.

    Raises:
        CheckpointError: another line is damaged.
    """
    path = folder / LOG
    try:
        lines = path.read_bytes().splitlines(keepends=True)
    except FileNotFoundError:
        return []
    records = [_record(line, number, path) for number, line in enumerate(lines, 1) if line.endswith(b"\n")]
    return [one for one in records if step is None or one["step"] <= step]


def _record(line: bytes, number: int, path: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = json.loads(line)
        found["kind"], found["step"] + 0
    except (ValueError, TypeError, KeyError) as error:
        raise CheckpointError(
            f"{path}, line {number}, is damaged ({error}): remove the line, or the file, and the run goes on"
        ) from None
    return found


def _line(record: dict[str, Any]) -> str:
    return json.dumps(record, allow_nan=False) + "\n"
