"""Which split a source belongs to: by a hash of its name, so that every clip of it is on the same side, always.

The same source falls into the same split in every data set, run and order of files. Shares are met on average over many
sources; with few, look at what came out.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable, Mapping

from auricle.errors import InputError, OptionError
from auricle.jobs.parts import digest

HASHED = 16  # hexadecimal digits of the hash that make the number; 64 bits


def parse_splits(text: str) -> dict[str, float]:
    """`dev=0.3,test=0.7` as shares by name.

    Raises:
        OptionError: a share is no number above 0, a name is missing or there twice, or they don't add up to 1.
    """
    shares: dict[str, float] = {}
    for word in text.split(","):
        name, equals, number = (part.strip() for part in word.partition("="))
        try:
            share = float(number)
        except ValueError:
            share = math.nan
        if not name or not equals or not 0 < share < math.inf:
            raise OptionError(f"splits has {word.strip()!r}; each must be NAME=SHARE, such as dev=0.3,test=0.7")
        if name in shares:
            raise OptionError(f"splits has {name!r} twice: give each once")
        shares[name] = share
    if abs(sum(shares.values()) - 1) > 1e-6:
        raise OptionError(f"the shares of splits add up to {sum(shares.values()):g}; they must add up to 1")
    return shares


def source_of(name: str, pattern: str) -> str:
    """The recording that a clip was cut from: the first group of a regular expression, found in the clip's id.

    Raises:
        OptionError: it is no regular expression, or finds no group there.
    """
    try:
        found = re.search(pattern, name)
    except re.error as error:
        raise OptionError(f"source {pattern!r} is no regular expression ({error}); mend it") from None
    if found is None or not found.groups() or not found[1]:
        raise OptionError(f"source {pattern!r} finds no group in clip {name!r}; write one such as '^(.+)_[0-9]+$'")
    return found[1]


def split_of(source: str, shares: Mapping[str, float]) -> str:
    """The split of one source."""
    place = int(digest("split", source)[:HASHED], 16) / 16**HASHED * sum(shares.values())
    reached = 0.0
    for name, share in shares.items():
        reached += share
        if place < reached:
            return name
    return list(shares)[-1]


def check_splits(pairs: Iterable[tuple[str, str | None]], where: str) -> None:
    """Refuses a source that is in two splits: what was learnt or tuned on one would be measured on the other.

    Raises:
        InputError: a source is; the message names it and both splits.
    """
    seen: dict[str, str | None] = {}
    for source, split in pairs:
        if seen.setdefault(source, split) != split:
            raise InputError(
                f"{where} has source {source!r} in splits {seen[source]!r} and {split!r}: "
                "put all clips of a source into one"
            )


def empty_splits(shares: Mapping[str, float] | None, found: Iterable[str | None]) -> list[str]:
    """The splits that no source fell into: with few sources that is a matter of chance."""
    there = set(found)
    return [name for name in shares or {} if name not in there]
