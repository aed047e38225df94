"""sounddevice, through which PortAudio is reached: the extra `live`."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from typing import Any

from auricle.errors import DeviceError, OptionError

LISTED = "python -m sounddevice lists them"


def sounddevice(what: str) -> Any:
    """The module; `what` needs it, such as "a microphone".

    Raises:
        OptionError: it isn't installed.
        DeviceError: PortAudio isn't.
    """
    try:
        return importlib.import_module("sounddevice")
    except ImportError:
        raise OptionError(f'{what} needs sounddevice, which is not installed: pip install "auricle[live]"') from None
    except OSError as error:  # what sounddevice raises without its library
        raise DeviceError(
            f"{what} needs PortAudio, which can't be loaded ({one_line(error)}); "
            "install it: apt-get install libportaudio2, brew install portaudio"
        ) from None


def started(driver: Any, make: Callable[[], Any], name: str, otherwise: str) -> Any:
    """The stream that `make` gives, at work.

    Args:
        otherwise: what else can be done, beside ending what uses the device.

    Raises:
        DeviceError: it can't be opened; nothing is left open.
    """
    stream = None
    try:
        stream = make()
        stream.start()
    except (ValueError, driver.PortAudioError) as error:
        if stream is not None:
            stream.close()
        raise DeviceError(
            f"{name} can't be opened ({one_line(error)}); end what else uses it, or {otherwise}"
        ) from None
    return stream


def numbered(device: str | None) -> int | str | None:
    """A device as sounddevice wants it: its number, or a part of its name."""
    return int(device) if device is not None and device.isdecimal() else device


def one_line(error: Exception) -> str:
    """Several devices that match are listed a line each."""
    return " ".join(str(error).split())
