"""How the sounds beside this file were made: `python -m examples.make_sounds`, with espeak-ng installed.

Training of `tiny` had none of them: the sentences are held out, and so is the voice of the first.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from auricle.sound.write import write_wav
from auricle.types import Audio
from recipes.tiny import espeak, sounds
from recipes.tiny.instruments import RATE

FOLDER = Path(__file__).parent
SENTENCES = {"sentence": ("the old man opened the window", "en-us+f5"), "question": ("where is my green coat", "en")}


def main() -> None:
    for name, (text, voice) in SENTENCES.items():
        speech = espeak.speak(text, voice)
        write_wav(FOLDER / f"{name}.wav", Audio(speech.samples, speech.rate))
    piano = sounds.music(np.random.default_rng(7), "piano", single=False).samples
    write_wav(FOLDER / "piano.wav", Audio(piano, RATE))


if __name__ == "__main__":
    main()
