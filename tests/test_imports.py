"""The house rule: imports go down only, and the front door is light. docs/architecture.md draws the storeys."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

SOURCE = Path(__file__).parents[1] / "src" / "auricle"

# From the top down. A room imports from the storeys below its own, and from itself.
STOREYS = (
    {"__main__"},  # `python -m auricle`
    {"cli", "server"},
    {"evaluation", "represent", "audiolm", "bench"},
    {"auricle"},  # auricle/__init__.py: the public names, which it takes from api
    {"api"},
    {"backends"},
    {"engine"},
    {"quant"},
    {"models"},
    {"layers", "sound", "hub", "checkpoint", "jobs"},
    {"types"},
    {"errors"},
)
HEIGHT = {room: -storey for storey, rooms in enumerate(STOREYS) for room in rooms}
# Doors within a storey, each with its reason.
DOORS = {
    ("cli", "server"),  # `auricle serve` starts the server
    ("auricle", "audiolm"),  # public names of a room above it: auricle.continue_audio, imported when first used
}


def test_every_module_has_a_storey() -> None:
    rooms = {_room_of(path) for path in SOURCE.rglob("*.py")}
    assert rooms <= HEIGHT.keys(), "a new room: give it a storey here and in docs/architecture.md"


def test_imports_go_down_only() -> None:
    wrong = []
    for path in sorted(SOURCE.rglob("*.py")):
        room = _room_of(path)
        for line, imported in _imported_rooms(path.read_text(encoding="utf-8"), _package_of(path)):
            if not _may_import(room, imported):
                wrong.append(f"{path.relative_to(SOURCE)}:{line}: {room} imports {imported}")
    assert not wrong, "\n".join(["imports must go down:", *wrong])


@pytest.mark.parametrize(
    ("source", "rooms"),
    [
        ("import auricle.api", ["api"]),
        ("import auricle", ["auricle"]),
        ("import auricle.models.gemma4 as g, torch", ["models"]),
        ("from auricle.types import Audio", ["types"]),
        ("from auricle import api, load", ["api", "auricle"]),
        ("from . import cache", ["engine"]),
        ("from ..layers import norms", ["layers"]),
        ("from .. import hub", ["hub"]),
        ("def late():\n    from auricle.server import app", ["server"]),
        ("if TYPE_CHECKING:\n    from auricle.cli import main", ["cli"]),
        ("import auricles, torch\nfrom numpy import typing", []),
    ],
)
def test_imports_are_found_wherever_they_stand(source: str, rooms: list[str]) -> None:
    assert [room for _, room in _imported_rooms(source, "auricle.engine")] == rooms


@pytest.mark.parametrize("statement", ["import auricle", "import auricle.cli.main"])
def test_the_front_door_imports_no_torch(statement: str) -> None:
    heavy = "{'torch', 'transformers', 'av', 'huggingface_hub'}"
    code = f"import sys; {statement}; print(*sorted({heavy} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert done.stdout.strip() == ""


def _may_import(room: str, imported: str) -> bool:
    return room == imported or (room, imported) in DOORS or HEIGHT[imported] < HEIGHT[room]


def _room_of(path: Path) -> str:
    """`models/gemma4/encoder.py` -> models; `api.py` -> api; `__init__.py` -> auricle."""
    first = path.relative_to(SOURCE).parts[0].removesuffix(".py")
    return "auricle" if first == "__init__" else first


def _package_of(path: Path) -> str:
    """The package that relative imports in a file start from."""
    return ".".join(["auricle", *path.relative_to(SOURCE).parent.parts])


def _imported_rooms(source: str, package: str) -> Iterator[tuple[int, str]]:
    """Every room a module imports from, with the line, at the top, inside functions and under conditions."""
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            base = package.split(".")[: len(package.split(".")) - node.level + 1] if node.level else []
            module = ".".join([*base, *([node.module] if node.module else [])])
            # `from auricle import X` means a room when X is one, and a public name otherwise.
            names = [f"auricle.{alias.name}" for alias in node.names] if module == "auricle" else [module]
        else:
            continue
        for name in names:
            top, _, rest = name.partition(".")
            room = rest.partition(".")[0]
            if top == "auricle":
                yield node.lineno, room if room in HEIGHT else "auricle"
