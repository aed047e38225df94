"""How the sounds beside this file were made: `python -m examples.make_sounds`, with espeak-ng installed.

Training had none of them: the sentences are held out, and so is the voice of the first; the melodies have a seed of
their own.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from auricle.sound.write import write_wav
from auricle.types import Audio
from recipes.audiolm.melodies import melody
from recipes.audiolm.timbres import RATE as MUSIC_RATE
from recipes.tiny import espeak, sounds
from recipes.tiny.instruments import RATE

FOLDER = Path(__file__).parent
SENTENCES = {"sentence": ("the old man opened the window", "en-us+f5"), "question": ("where is my green coat", "en")}
MELODIES = {"melody": (3, 6.0), "flute": (4, 3.0)}  # a guitar in B minor, a flute in D major: their number, seconds


def main() -> None:
    for name, (text, voice) in SENTENCES.items():
        speech = espeak.speak(text, voice)
        write_wav(FOLDER / f"{name}.wav", Audio(speech.samples, speech.rate))
    piano = sounds.music(np.random.default_rng(7), "piano", single=False).samples
    write_wav(FOLDER / "piano.wav", Audio(piano, RATE))
    for name, (number, seconds) in MELODIES.items():
        made = melody(np.random.default_rng((903, number)), seconds)
        write_wav(FOLDER / f"{name}.wav", Audio(made.samples, MUSIC_RATE))


if __name__ == "__main__":
    main()
