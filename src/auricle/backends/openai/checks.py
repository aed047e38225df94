"""Whether an answer keeps to what it was to be held to: the server is asked to see to it, and may not know how."""

from __future__ import annotations

import importlib
import importlib.util
import json
import re
from collections.abc import Callable
from typing import Any

from auricle.errors import InputError, OptionError
from auricle.types import Sampling

Check = Callable[[str], str | None]
"""An answer -> what is wrong with it; None when nothing is."""


def check_of(sampling: Sampling, extra: str) -> Check | None:
    """How an answer is checked; None without a constraint. Made before anything is sent.

    Raises:
        OptionError: a regular expression or a schema that can't be checked here.
        InputError: the library that checks schemas is not installed; `extra` says how it is.
    """
    if sampling.choices:
        known = set(sampling.choices)
        return lambda text: None if text in known else f"is none of the {len(known)} choices"
    if sampling.regex is not None:
        return _regex(sampling.regex)
    if sampling.json_schema is not None:
        return _schema(str(sampling.json_schema), extra)
    return None


def _regex(regex: str) -> Check:
    try:
        pattern = re.compile(regex)
    except re.error as error:
        raise OptionError(
            f"regex {regex!r} can't be checked by Python's re ({error}), and a server's answer is: spell it for both"
        ) from error
    return lambda text: None if pattern.fullmatch(text) else f"does not match the regex {regex!r}"


def _schema(text: str, extra: str) -> Check:
    if importlib.util.find_spec("jsonschema") is None:
        raise InputError(f"json_schema is checked by the jsonschema library, which is not installed: {extra}")
    jsonschema = importlib.import_module("jsonschema")
    referencing = importlib.import_module("referencing")
    schema = json.loads(text)
    kind = jsonschema.validators.validator_for(schema, default=jsonschema.Draft202012Validator)
    try:
        kind.check_schema(schema)
    except jsonschema.SchemaError as error:
        raise OptionError(f"json_schema is no JSON schema ({_one_line(error.message)}): correct it") from error
    validator = kind(schema, registry=referencing.Registry())  # one without a network: no reference is fetched

    def check(answer: str) -> str | None:
        try:
            read: Any = json.loads(answer)
        except (ValueError, RecursionError):
            return "is no JSON"
        try:
            wrong = jsonschema.exceptions.best_match(validator.iter_errors(read))
        except referencing.exceptions.Unresolvable as error:
            raise OptionError(
                f"json_schema refers to what is not in it ({_one_line(str(error))}): put it in"
            ) from error
        return None if wrong is None else f"does not fit the JSON schema ({_one_line(wrong.message)})"

    return check


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    return text if len(text) <= 200 else text[:197] + "..."
