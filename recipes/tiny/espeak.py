"""libespeak-ng in process: speech with the time of every word and phoneme.

The command line gives samples only. The library, in retrieval mode, calls back with blocks of samples and a
list of events; with the phoneme-event option these name each phoneme and its position, so that a training clip
comes with its alignment for free. One thread at a time: the library keeps its state in globals.

    speech = speak("the old man opened the window", voice="en-gb+f3")
    speech.samples    # (n,) float32 in [-1, 1] at speech.rate
    speech.words      # [(0, 0.03), (4, 0.11), ...]  offset into the text in characters, start in seconds
    speech.phonemes   # [("D", 0.03), ("@", 0.07), ...]  espeak mnemonics; names that start with "_" are pauses
"""

from __future__ import annotations

import ctypes
import functools
from dataclasses import dataclass

import numpy as np

LIBRARY = "libespeak-ng.so.1"

# Names and values of speak_lib.h, espeak-ng 1.51.
AUDIO_OUTPUT_RETRIEVAL = 1
INITIALIZE_PHONEME_EVENTS = 0x0001
INITIALIZE_DONT_EXIT = 0x8000
EVENT_LIST_TERMINATED, EVENT_WORD, EVENT_PHONEME = 0, 1, 7
PARAMETER_RATE, PARAMETER_PITCH, PARAMETER_RANGE = 1, 3, 4
POS_CHARACTER = 1
CHARS_UTF8 = 1


class EspeakError(RuntimeError):
    """libespeak-ng is missing, or refused what it was asked."""


class _Id(ctypes.Union):
    _fields_ = [("number", ctypes.c_int), ("name", ctypes.c_char_p), ("string", ctypes.c_char * 8)]


class _Event(ctypes.Structure):
    """espeak_EVENT: `audio_position` in milliseconds, `text_position` in characters counted from 1."""

    _fields_ = [
        ("type", ctypes.c_int),
        ("unique_identifier", ctypes.c_uint),
        ("text_position", ctypes.c_int),
        ("length", ctypes.c_int),
        ("audio_position", ctypes.c_int),
        ("sample", ctypes.c_int),
        ("user_data", ctypes.c_void_p),
        ("id", _Id),
    ]


_Callback = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.POINTER(ctypes.c_short), ctypes.c_int, ctypes.POINTER(_Event))


@dataclass(frozen=True)
class Speech:
    """What espeak said, and when."""

    samples: np.ndarray  # (n,) float32 in [-1, 1]
    rate: int  # of the samples, in Hz
    words: list[tuple[int, float]]  # offset into the text in characters, start in seconds
    phonemes: list[tuple[str, float]]  # mnemonic, start in seconds


class _Engine:
    """The loaded library, its callback, and what the call under way has collected."""

    def __init__(self) -> None:
        try:
            self.library = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise EspeakError(f"{LIBRARY} was not found: install it with `apt-get install espeak-ng`") from error
        self.library.espeak_Synth.argtypes = [
            ctypes.c_char_p,
            ctypes.c_size_t,
            ctypes.c_uint,
            ctypes.c_int,
            ctypes.c_uint,
            ctypes.c_uint,
            ctypes.c_void_p,
            ctypes.c_void_p,
        ]
        options = INITIALIZE_PHONEME_EVENTS | INITIALIZE_DONT_EXIT
        self.rate: int = self.library.espeak_Initialize(AUDIO_OUTPUT_RETRIEVAL, 0, None, options)
        if self.rate <= 0:
            raise EspeakError("libespeak-ng found no voice data: install it with `apt-get install espeak-ng`")
        # The library keeps the pointer only, so this object must hold the callback alive.
        self.callback = _Callback(self._collect)
        self.library.espeak_SetSynthCallback(self.callback)
        self.voice = ""
        self._start()

    def _start(self) -> None:
        self.blocks: list[bytes] = []
        self.words: list[tuple[int, float]] = []
        self.phonemes: list[tuple[str, float]] = []

    def _collect(self, samples: ctypes._Pointer[ctypes.c_short], count: int, events: ctypes._Pointer[_Event]) -> int:
        if samples and count > 0:
            self.blocks.append(ctypes.string_at(samples, 2 * count))
        i = 0
        while (event := events[i]).type != EVENT_LIST_TERMINATED:
            start = event.audio_position / 1000
            if event.type == EVENT_WORD:
                self.words.append((event.text_position - 1, start))
            elif event.type == EVENT_PHONEME:
                self.phonemes.append((event.id.string.decode("utf-8", "replace"), start))
            i += 1
        return 0

    def speak(self, text: str, voice: str, rate_wpm: int, pitch: int, pitch_range: int) -> Speech:
        """As the function `speak`."""
        if voice != self.voice:
            if self.library.espeak_SetVoiceByName(voice.encode()) != 0:
                raise EspeakError(f"espeak-ng has no voice {voice!r}")
            self.voice = voice
        # After the voice, because loading one sets them.
        for parameter, value in (
            (PARAMETER_RATE, rate_wpm),
            (PARAMETER_PITCH, pitch),
            (PARAMETER_RANGE, pitch_range),
        ):
            self.library.espeak_SetParameter(parameter, value, 0)
        self._start()
        data = text.encode()
        if self.library.espeak_Synth(data, len(data) + 1, 0, POS_CHARACTER, 0, CHARS_UTF8, None, None) != 0:
            raise EspeakError(f"espeak-ng could not speak {text!r}")
        self.library.espeak_Synchronize()
        samples = np.frombuffer(b"".join(self.blocks), dtype=np.int16).astype(np.float32) / 32768
        return Speech(samples, self.rate, self.words, self.phonemes)


@functools.cache
def _engine() -> _Engine:
    return _Engine()


def speak(text: str, voice: str = "en-us", rate_wpm: int = 175, pitch: int = 50, pitch_range: int = 50) -> Speech:
    """Speak a text.

    Args:
        text: plain text.
        voice: an espeak voice, with or without a variant: "en-us", "en-gb-scotland+f3".
        rate_wpm: words a minute, 80 to 450.
        pitch: 0 to 99.
        pitch_range: how lively the melody is, 0 to 99.

    Raises:
        EspeakError: the library is missing, or has no such voice.
    """
    return _engine().speak(text, voice, rate_wpm, pitch, pitch_range)
