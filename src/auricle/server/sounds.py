"""From base64, an upload or a fetched file to sound: bounded before and while it is decoded."""

from __future__ import annotations

import base64
import binascii
import re

from auricle.errors import SoundError, TooLongError
from auricle.server.failures import ApiError
from auricle.server.settings import Settings
from auricle.sound.decode import Limits, decode
from auricle.types import Audio


class Sounds:
    """The sounds of one request, which together are no longer than one may be."""

    def __init__(self, settings: Settings) -> None:
        self._limit = settings.max_seconds
        self._taken = 0.0  # seconds decoded so far

    def from_base64(self, data: str, name: str) -> Audio:
        """A file in base64, as `input_audio.data` has it. Only base64 is decoded: a path or an address is never opened.

        Raises:
            ApiError: 400 when it is no base64, 413 when too long, 415 when it can't be decoded.
        """
        try:
            content = base64.b64decode(data, validate=True)
        except (binascii.Error, ValueError) as error:
            text = f"{name} is no base64 ({flaw_of(data, error)}): send the file's bytes in standard base64, unbroken"
            raise ApiError(400, text, param=name) from error
        return self.from_bytes(content, name)

    def from_bytes(self, content: bytes, name: str) -> Audio:
        """A file's bytes -> mono sound at 16 kHz; errors as for `from_base64`."""
        if not content:
            raise ApiError(400, f"{name} is empty: send a file with sound in it", param=name)
        try:
            # A millisecond where nothing is left: any sound is too long for that, and is told so.
            audio = decode(content, limits=Limits(max_seconds=max(self._limit - self._taken, 0.001)), name=name)
        except TooLongError as error:
            raise ApiError(413, self._too_long(error, name), param=name) from error
        except SoundError as error:
            raise ApiError(415, str(error), param=name) from error
        self._taken += audio.seconds
        return audio

    def from_data_url(self, url: str, name: str) -> Audio:
        """What a data URL holds, which has to be in base64; errors as there."""
        kind, comma, data = url.partition(":")[2].partition(",")
        if not comma or not kind.endswith(";base64"):
            raise ApiError(400, f"{name} is a data URL without ;base64, in it: encode the file so", param=name)
        return self.from_base64(data, name)

    def _too_long(self, error: TooLongError, name: str) -> str:
        if self._taken:
            return (
                f"{name} is too long: the sounds of a request may have {self._limit:,g} s together, and those before "
                f"it have {self._taken:,.2f} s: send less"
            )
        return str(error).replace(", or raise max_seconds", "")


def flaw_of(data: str, error: Exception) -> str:
    """What keeps a text from being base64: Python's own `error` says only that something does."""
    if is_data_url(data):
        return "it is a data URL, whose part behind the comma is"
    found = re.search(r"[^A-Za-z0-9+/=]", data)
    return f"it has {found[0]!r} at character {found.start():,}" if found else str(error)


def is_data_url(url: str) -> bool:
    return url[:5].lower() == "data:"
