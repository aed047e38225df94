"""What fields are held to, and the words for it."""

from __future__ import annotations

from auricle.errors import OptionError


def require(fits: bool, name: str, value: object, allowed: str) -> None:
    if not fits:
        raise OptionError(f"{name} is {value}; it must be {allowed}")


def require_text(name: str, text: object) -> None:
    if not isinstance(text, str) or not text.strip():
        raise OptionError(f"{name} is {text!r}; it must be a string that is not blank")
    try:
        text.encode()
    except UnicodeEncodeError as error:  # half of a pair of surrogates, or bytes of a command line that are no UTF-8
        raise OptionError(f"{name} has a character at {error.start + 1} that is no text: spell it in UTF-8") from error


def require_one_of(name: str, value: object, known: tuple[str, ...]) -> None:
    require(value in known, name, repr(value), f"{', '.join(map(repr, known[:-1]))} or {known[-1]!r}")
