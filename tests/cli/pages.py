"""Writes every command's help into docs/cli.md: `python -m tests.cli.pages`. A test checks that it was done."""

from __future__ import annotations

import re
from pathlib import Path

from auricle.cli.app import command

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"
_BLOCK = re.compile(r"(<!-- help: ([\w ]+) -->\n).*?(<!-- /help -->)", re.DOTALL)


def help_of(name: str) -> str:
    """What `auricle ... --help` prints, 100 characters wide; name is `auricle`, `auricle ask`, ..."""
    context = command().make_context("auricle", ["--version"], terminal_width=100)
    for word in name.split()[1:]:
        found = context.command.get_command(context, word)
        context = type(context)(found, info_name=word, parent=context)
    return str(context.get_help()) + "\n"


def filled(page: str) -> str:
    """The page with the help between its marks."""
    return _BLOCK.sub(lambda found: f"{found[1]}```text\n{help_of(found[2])}```\n{found[3]}", page)


def documented(page: str) -> list[str]:
    """The commands whose help is in a page."""
    return [name for _, name, _ in _BLOCK.findall(page)]


if __name__ == "__main__":
    PAGE.write_text(filled(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
