"""Every command and program of docs/serve.md, against a real server."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "serve.md").read_text(encoding="utf-8")
COMMANDS = [  # a line, or several that a pipe or a variable joins
    command
    for block in re.findall(r"```sh\n(.*?)```", PAGE, re.DOTALL)
    for command in re.split(r"\n(?=curl)(?<!\|\n)|\n\n", block.strip())
    if "curl" in command
]
EXPECTED = ("the old man opened the window", "where is my green coat", '"object":', '"status":', "auricle_requests")


def test_commands_are_found() -> None:
    assert len(COMMANDS) == PAGE.count("curl -s") == 10


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command(server: str, command: str) -> None:
    told = subprocess.run(
        ["bash", "-ec", f"set -o pipefail; {command.replace('localhost:8000', server.removeprefix('http://'))}"],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert told.returncode == 0, told.stderr
    assert any(words in told.stdout for words in EXPECTED), told.stdout
    assert '"error":{' not in told.stdout


def test_the_program(server: str) -> None:
    (program,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    told = subprocess.run(
        [sys.executable, "-c", program.replace("http://127.0.0.1:8000", server)],
        capture_output=True,
        text=True,
        timeout=60,
        cwd=ROOT,
    )
    assert told.stdout == "the old man opened the window\n", told.stderr
