"""What is asked of each clip. A task turns sounds into the columns of their rows; the runner does the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from auricle.errors import AuricleError
from auricle.evaluation.manifest import Clip
from auricle.types import Audio

Columns = dict[str, Any]


class Task(Protocol):
    """What is asked, of whom, and which answer is right."""

    def plan(self) -> Mapping[str, Any]:
        """JSON: all that the answers depend on. A folder that was begun with another plan is refused."""

    def check(self, clips: Sequence[Clip]) -> list[str]:
        """What the user should know of the clips, before any is asked about.

        Raises:
            InputError: a clip lacks what the task needs, such as a label.
        """

    @property
    def rate(self) -> int:
        """Samples a second at which sounds are read, where the manifest doesn't say."""

    def ask(self, clips: Sequence[Clip], sounds: Sequence[Audio]) -> list[Columns | AuricleError]:
        """The columns of each clip's row, in order; what concerns one clip alone is an error in its place.

        Every task gives `raw_output`, `preprocess_ms` and `model_ms`; more depends on the task.
        """

    def empty(self, clip: Clip) -> Columns:
        """The columns that are known of a clip that was not answered: the truth."""
