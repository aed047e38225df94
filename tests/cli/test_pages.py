"""docs/cli.md holds every command's help as it is, and both pages name commands and flags that exist."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path

import pytest

from auricle.cli.app import COMMANDS
from tests.cli.conftest import Run
from tests.cli.pages import PAGE, documented, filled, help_of

MIGRATION = PAGE.parent / "from-audio-direct.md"
SEED = """
    --model --audio --prompt --tokens --backend CELLM_AUDIO_DEBUG CELLM_VLM_DEBUG_FEATURE_STATS CELLM_GEN_DEBUG
    CELLM_VLM_ZERO_IMAGE_FEATURES CELLM_DUMP_AUDIO_TENSORS CELLM_VLM_GEMMA4_BIDIR_IMAGE
""".split()


def examples(page: str) -> Iterator[list[str]]:
    """The arguments of every call of auricle in the page's shell blocks."""
    for block in re.findall(r"^```sh\n(.*?)^```", page, re.MULTILINE | re.DOTALL):
        for line in block.splitlines():
            for command in re.split(r"\s[|<>]\s|\s2>&1", line.partition("  #")[0]):
                words = shlex.split(command)
                if words[:1] == ["auricle"]:
                    yield words[1:]


def test_the_page_is_up_to_date() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert filled(page) == page, "run `python -m tests.cli.pages`"


def test_every_command_is_on_the_page() -> None:
    names = ["auricle", *(f"auricle {name}" for name in COMMANDS), "auricle models pull"]
    assert sorted(documented(PAGE.read_text(encoding="utf-8"))) == sorted(names)


@pytest.mark.parametrize("page", [PAGE, MIGRATION], ids=lambda page: page.name)
def test_examples_call_what_exists(auricle: Run, page: Path) -> None:
    called = list(examples(page.read_text(encoding="utf-8")))
    assert called
    for arguments in called:
        done = auricle(*arguments, "--help")  # looks up the command and every option before it, and runs nothing
        assert done.status == 0, (arguments, done.err)


def test_examples_in_the_help_call_what_exists(auricle: Run) -> None:
    for name in COMMANDS:
        lines = [line.strip() for line in help_of(f"auricle {name}").splitlines()]
        called = [line for line in lines if re.match(r"(.*\| )?auricle ", line)]
        assert called, name
        for line in called:
            (arguments,) = examples(f"```sh\n{line}\n```")
            done = auricle(*arguments, "--help")
            assert done.status == 0, (line, done.err)


def test_every_flag_and_variable_of_the_seed_is_mapped() -> None:
    page = MIGRATION.read_text(encoding="utf-8")
    mapped = re.findall(r"^\| `([\w-]+)", page, re.MULTILINE)
    assert set(SEED) <= set(mapped)


def test_the_table_names_flags_that_exist() -> None:
    page = MIGRATION.read_text(encoding="utf-8")
    ours = set(re.findall(r"\| [^|]*\| `(--[\w-]+)", page))
    assert ours
    assert all(flag in help_of("auricle ask") for flag in ours), ours
