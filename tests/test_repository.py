"""What the repository promises: README commands that exist, links that lead somewhere, pins, no trace of a machine."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PAGES = ["README.md", "CONTRIBUTING.md", *(str(page.relative_to(ROOT)) for page in (ROOT / "docs").rglob("*.md"))]


def _blocks(page: str, *languages: str) -> Iterator[str]:
    text = (ROOT / page).read_text(encoding="utf-8")
    for language, block in re.findall(r"^```(\w*)\n(.*?)^```", text, re.MULTILINE | re.DOTALL):
        if language in languages:
            yield block


def _commands(page: str, program: str) -> list[list[str]]:
    """The arguments of every call of a program in a page's shell blocks."""
    commands = []
    for block in _blocks(page, "sh", "bash", "console"):
        for line in block.replace("\\\n", " ").splitlines():
            words = shlex.shlex(line.removeprefix("$ "), posix=True, punctuation_chars=True)
            words.commenters = "#"
            words.whitespace_split = True
            command: list[str] = []
            for word in [*words, ";"]:
                if set(word) <= set("|&;<>()"):  # the next program, or a redirection
                    if command[:1] == [program]:
                        commands.append(command[1:])
                    command = []
                else:
                    command.append(word)
    return commands


@pytest.mark.parametrize("arguments", _commands("README.md", "auricle"), ids=" ".join)
def test_readme_commands_exist(
    arguments: list[str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """`--help` at the end of a command still has the command and every option before it looked up, but runs nothing."""
    from auricle.cli.main import main

    arguments = ["ask" if word == "COMMAND" else word for word in arguments]
    monkeypatch.setattr(sys, "argv", ["auricle", *arguments, "--help"])
    with pytest.raises(SystemExit) as stopped:
        main()
    printed = capsys.readouterr()
    assert stopped.value.code in (None, 0), printed.err
    assert arguments[0] in printed.out


def test_readme_python_runs(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(ROOT)
    blocks = list(_blocks("README.md", "python"))
    assert blocks
    for block in blocks:
        exec(compile(block, "README.md", "exec"), {})
    assert "the old man opened the window" in capsys.readouterr().out


def test_make_targets_in_pages_exist() -> None:
    targets = set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
    for page in PAGES:
        text = (ROOT / page).read_text(encoding="utf-8")
        named = {word for words in _commands(page, "make") for word in words if re.fullmatch("[a-z]+", word)}
        named |= set(re.findall(r"`make ([a-z]+)[^`]*`", text))
        assert named <= targets, page


@pytest.mark.parametrize("page", PAGES)
def test_links_lead_somewhere(page: str) -> None:
    text = (ROOT / page).read_text(encoding="utf-8")
    targets = [target.partition("#")[0] for target in re.findall(r"\]\(([^)\s]+)\)", text) if "://" not in target]
    missing = [target for target in targets if target and not ((ROOT / page).parent / target).exists()]
    assert not missing


def test_no_file_names_a_place_on_one_machine() -> None:
    listed = subprocess.run(["git", "ls-files", "-z"], cwd=ROOT, capture_output=True, check=False)
    if listed.returncode:
        pytest.skip("not a git checkout")
    # /opt/auricle and /home/auricle are what deploy/ makes, wherever it runs.
    place = re.compile(r"(?<![\w.~:/<-])/(?:home|root|Users|opt|work|mnt)/(?!auricle\b)\w|\b[A-Z]:\\Users")
    found = []
    for name in listed.stdout.decode().split("\0"):
        path = ROOT / name
        if not path.is_file():
            continue
        try:
            text = path.read_text(encoding="utf-8")
        except UnicodeDecodeError:  # a sound or a model
            continue
        found += [f"{name}: {match.group()}" for match in place.finditer(text)]
    assert not found


def test_constraints_pin_every_dependency_exactly() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    asked = {_distribution(need) for need in project["dependencies"] + extras["transformers"] + extras["dev"]}
    lines = (ROOT / "constraints.txt").read_text(encoding="utf-8").splitlines()
    pins = [line for line in lines if line and not line.startswith("#")]
    # Exact, and without a local tag such as +cpu, which would refuse every other build of the same version.
    loose = [pin for pin in pins if not re.fullmatch(r"[\w.-]+==[\w.!]+", pin)]
    assert not loose
    assert asked - {"auricle"} <= {_distribution(pin) for pin in pins}


def _distribution(requirement: str) -> str:
    match = re.match(r"[\w.-]+", requirement)
    assert match is not None
    return re.sub(r"[-_.]+", "-", match.group()).lower()
