"""Prompts for labels, in files: what is asked, and which answers say a label. docs/classify.md says how."""

from __future__ import annotations

import hashlib
import string
import tomllib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import jinja2
import jinja2.meta
from jinja2.sandbox import ImmutableSandboxedEnvironment

from auricle.errors import OptionError

FOLDER = Path(__file__).parent / "prompts"
LETTERS = string.ascii_uppercase
FIELDS = {"prompt": str, "answers": list, "question": str, "count": int}
IN_PROMPT = ("labels", "options", "question")
IN_ANSWERS = ("label", "letter", "number", "first")

_ENVIRONMENT = ImmutableSandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=False)


@dataclass(frozen=True)
class Template:
    """A prompt that is not yet about certain labels."""

    name: str
    fingerprint: str  # of the file's text
    prompt: str  # jinja, with `labels`, `options` (each with letter, number, label) and `question`
    answers: tuple[str, ...]  # jinja, with `label`, `letter`, `number`, `first`: each is a way to say a label
    question: str | None = None  # that the prompt begins with unless another is given; None: it has no place for one
    count: int | None = None  # how many labels it is for; None is any number

    @property
    def id(self) -> str:
        return f"{self.name}@{self.fingerprint}"

    def asking(self, labels: Sequence[str], question: str | None = None) -> str:
        """The prompt for labels in this order.

        Raises:
            OptionError: it is for another number of labels, has no place for a question, or can't be rendered.
        """
        if self.count is not None and len(labels) != self.count:
            raise OptionError(
                f"prompt {self.name} is for {self.count} labels, and {len(labels)} are given: use plain, or another"
            )
        if question is not None and self.question is None:
            raise OptionError(f"prompt {self.name} has no place for a question: leave the question out, or use plain")
        if question is not None and not question.strip():
            raise OptionError("the question is empty: say what to ask about the sound")
        options = [_option(labels, number) for number in range(len(labels))] if self.lettered else []
        values = {"labels": list(labels), "options": options}
        if self.question is not None:
            values["question"] = (question or self.question).strip()
        asked = self._rendered("prompt", self.prompt, values).strip()
        if not asked:
            raise OptionError(f"prompt {self.name} asks nothing: its prompt comes to no text")
        return asked

    def saying(self, labels: Sequence[str], number: int) -> tuple[str, ...]:
        """The answers that say one of labels in this order, each once; the first is how it is said to the letter."""
        values = {"label": labels[number], "number": number + 1, "first": number == 0}
        if self.lettered:
            values["letter"] = _option(labels, number)["letter"]
        said = (self._rendered("answers", answer, values).strip() for answer in self.answers)
        return tuple(dict.fromkeys(answer for answer in said if answer))

    @property
    def lettered(self) -> bool:
        """Whether its labels are options with letters."""
        return "options" in _used(self.prompt) or any("letter" in _used(answer) for answer in self.answers)

    def _rendered(self, field: str, source: str, values: Mapping[str, Any]) -> str:
        try:
            return _compiled(source).render(values)
        except Exception as error:  # a template is a program, and may fail in any way
            raise OptionError(f"prompt {self.name} can't be rendered ({_line(error)}): see its {field}") from error


def shipped() -> list[str]:
    """The names of the prompts that come with the package."""
    return sorted(path.stem for path in FOLDER.glob("*.toml"))


def read_template(prompt: str | Path) -> Template:
    """A prompt that comes with the package, by its name, or a user's own, by the path of its file.

    Raises:
        OptionError: there is no such prompt, or its file is not one.
    """
    known = shipped()
    path = FOLDER / f"{prompt}.toml" if str(prompt) in known else Path(prompt)
    try:
        text = path.read_text(encoding="utf-8")
    except FileNotFoundError:
        raise OptionError(
            f"there is no prompt {str(prompt)!r}: use {', '.join(known)}, or the path of a file of your own"
        ) from None
    except (OSError, UnicodeDecodeError) as error:
        reason = getattr(error, "strerror", None) or "it is no UTF-8"
        raise OptionError(f"prompt {path} can't be read ({reason}): give a TOML file") from None
    try:
        fields = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise OptionError(f"prompt {path} is no TOML ({error}): see docs/classify.md") from None
    _check(path, fields)
    answers = tuple(fields["answers"])
    fingerprint = hashlib.sha256(text.encode()).hexdigest()[:12]
    return Template(path.stem, fingerprint, fields["prompt"], answers, fields.get("question"), fields.get("count"))


def _check(path: Path, fields: Mapping[str, Any]) -> None:
    if unknown := next((name for name in fields if name not in FIELDS), None):
        raise OptionError(f"prompt {path} has a field {unknown!r}; it may have {', '.join(FIELDS)}")
    for name, kind in FIELDS.items():
        if name not in fields:
            if name in ("prompt", "answers"):
                raise OptionError(f"prompt {path} has no field {name!r}: see docs/classify.md")
        elif type(fields[name]) is not kind or not fields[name]:
            wanted = {str: "a text that is not empty", list: "a list of texts", int: "a number of labels"}[kind]
            raise OptionError(f"prompt {path} has {name} = {fields[name]!r}; it must be {wanted}")
    if wrong := next((answer for answer in fields["answers"] if not isinstance(answer, str)), None):
        raise OptionError(f"prompt {path} has {wrong!r} among its answers; each must be a text")
    used = _variables(path, "prompt", fields["prompt"], IN_PROMPT)
    if ("question" in used) != ("question" in fields):
        raise OptionError(f"prompt {path} must have a field 'question' and {{{{ question }}}} in prompt, or neither")
    for answer in fields["answers"]:
        _variables(path, "answers", answer, IN_ANSWERS)


def _variables(path: Path, field: str, source: str, known: Sequence[str]) -> frozenset[str]:
    try:
        used = _used(source)
    except jinja2.TemplateError as error:
        raise OptionError(f"prompt {path} has {field} that is no jinja ({_line(error)}): mend it") from None
    if unknown := min(used - set(known), default=None):
        raise OptionError(f"prompt {path} has {unknown!r} in its {field}; there is {', '.join(known)}")
    return used


# Both kept: a prompt is asked about many sounds, and to compile `options` anew for each took 18 ms.


@lru_cache(maxsize=256)
def _compiled(source: str) -> jinja2.Template:
    return _ENVIRONMENT.from_string(source)


@lru_cache(maxsize=256)
def _used(source: str) -> frozenset[str]:
    return frozenset(jinja2.meta.find_undeclared_variables(_ENVIRONMENT.parse(source)))


def _option(labels: Sequence[str], number: int) -> dict[str, Any]:
    if len(labels) > len(LETTERS):
        raise OptionError(f"there are letters for {len(LETTERS)} options, and {len(labels)} labels: use prompt plain")
    return {"letter": LETTERS[number], "number": number + 1, "label": labels[number]}


def _line(error: Exception) -> str:
    return f"{type(error).__name__}: {error}".splitlines()[0]
