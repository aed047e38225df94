"""Finding the recordings that annotations name."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from auricle.errors import InputError
from auricle.sound.extensions import EXTENSIONS


class Recordings:
    """The sounds of a folder, however deep, by their paths, names, and names without the extension."""

    def __init__(self, folder: str | Path) -> None:
        """
        Raises:
            InputError: the folder isn't there, or has no sound in it.
        """
        self.folder = Path(folder)
        if not self.folder.is_dir():
            raise InputError(f"there is no folder {self.folder} with recordings; check the path")
        files = sorted(
            path
            for path in self.folder.rglob("*")
            if path.suffix.lower().removeprefix(".") in EXTENSIONS and not path.name.startswith(".") and path.is_file()
        )
        if not files:
            raise InputError(f"folder {self.folder} has no sound in it (.wav, .flac, .mp3, ...); name another")
        self._by_name: dict[str, list[Path]] = {}
        for path in files:
            inner = path.relative_to(self.folder)
            for name in {inner.as_posix(), inner.with_suffix("").as_posix(), path.name, path.stem}:
                self._by_name.setdefault(name, []).append(path)

    def find(self, name: str) -> Path | None:
        """The file of a recording; None where there is none.

        Raises:
            InputError: there are several of that name.
        """
        found = self._by_name.get(name) or self._by_name.get(Path(name).name) or []
        if len(found) > 1:
            raise InputError(
                f"{self.folder} has {len(found)} recordings called {name!r} ({found[0]}, {found[1]}): keep one, or "
                "name them by their paths"
            )
        return found[0] if found else None

    def missing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if self.find(name) is None]
