"""Which words of a command line are sounds, and reading them."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Sequence

from auricle.cli.options import Reading
from auricle.errors import SoundError
from auricle.sound.decode import Limits, decode
from auricle.sound.extensions import EXTENSIONS
from auricle.types import DEFAULT_QUESTION, Audio

STDIN = "-"
# What was meant as a file, there or not: a name with a sound's extension, or one word that is spelled like a path.
_FILE_LIKE = re.compile(
    rf".*\.({'|'.join(sorted(EXTENSIONS))})|\S*\.[a-z]\w{{1,4}}|\S*[/\\]\S*[^?!.]|\S*[/\\]", re.IGNORECASE
)


def split_question(words: Sequence[str]) -> tuple[list[str], str]:
    """Takes the words of `ask` apart: sounds, then perhaps a question.

    The last of several words is the question unless it is a file, or was clearly meant as one: a misspelt second file
    must be reported, not asked.
    """
    *sounds, last = words
    if not sounds or last == STDIN or _exists(last) or looks_like_file(last):
        sounds, question = [*sounds, last], DEFAULT_QUESTION
    else:
        question = last
    for word in sounds:
        if word != STDIN and not _exists(word) and not looks_like_file(word):
            raise SoundError(
                f"there is no file {word!r}; give the sounds first, then the question in quotes: "
                'auricle ask clip.wav "What is said?"'
            )
    return sounds, question


def looks_like_file(word: str) -> bool:
    """Whether somebody who wrote this meant a file: clip2.mp3, ./clip, a/b; not "Which is louder?"."""
    return _FILE_LIKE.fullmatch(word) is not None


def _exists(word: str) -> bool:
    return os.path.exists(word)  # noqa: PTH110 - a long question is too long for a path, at which Path.exists raises


def read_sounds(names: Sequence[str], reading: Reading) -> list[Audio]:
    """Decodes every sound, in order.

    Raises:
        SoundError: one can't be read; stdin is named twice, or is a terminal.
    """
    if names.count(STDIN) > 1:
        raise SoundError(f"{STDIN} is given {names.count(STDIN)} times, but stdin can be read only once")
    return [read_sound(name, reading) for name in names]


def read_sound(name: str, reading: Reading, rate: int = 16_000) -> Audio:
    """Decodes a file, or stdin when it is named `-`, at a rate in samples a second."""
    limits = Limits(max_seconds=reading.max_seconds, max_bytes=reading.max_bytes)
    if name != STDIN:
        return decode(name, rate=rate, limits=limits)
    if sys.stdin is None or sys.stdin.isatty():
        raise SoundError("- reads a sound from stdin, and nothing is piped in: write < clip.wav behind the command")
    return decode(sys.stdin.buffer, rate=rate, limits=limits, name="stdin")
