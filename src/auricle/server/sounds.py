"""From base64, an upload or an allowed address to sound: bounded before and while it is decoded."""

from __future__ import annotations

import base64
import binascii

from auricle.errors import SoundError, TooLongError
from auricle.server.failures import ApiError
from auricle.server.fetch import fetch
from auricle.server.settings import Settings
from auricle.sound.decode import Limits, decode
from auricle.types import Audio


def from_base64(data: str, name: str, settings: Settings) -> Audio:
    """A file in base64, as `input_audio.data` has it. Only base64 is decoded: a path or an address is never opened.

    Raises:
        ApiError: 400 when it is no base64, 413 when too long, 415 when it can't be decoded.
    """
    try:
        content = base64.b64decode(data, validate=True)
    except (binascii.Error, ValueError) as error:
        raise ApiError(
            400, f"{name} is no base64 ({error}): send the file's bytes in standard base64", param=name
        ) from error
    return from_bytes(content, name, settings)


def from_bytes(content: bytes, name: str, settings: Settings) -> Audio:
    """A file's bytes -> mono sound at its own rate's 16 kHz; errors as for `from_base64`."""
    if not content:
        raise ApiError(400, f"{name} is empty: send a file with sound in it", param=name)
    try:
        return decode(content, limits=Limits(max_seconds=settings.max_seconds), name=name)
    except TooLongError as error:
        raise ApiError(413, str(error).replace(", or raise max_seconds", ""), param=name) from error
    except SoundError as error:
        raise ApiError(415, str(error), param=name) from error


def from_url(url: str, name: str, settings: Settings) -> Audio:
    """What `audio_url` names: a data URL, or a file on a host that the server's owner has allowed."""
    scheme, _, rest = url.partition(":")
    if scheme.lower() == "data":
        kind, comma, data = rest.partition(",")
        if not comma or not kind.endswith(";base64"):
            raise ApiError(400, f"{name} is a data URL without ;base64, in it: encode the file so", param=name)
        return from_base64(data, name, settings)
    return from_bytes(fetch(url, name, settings), name, settings)
