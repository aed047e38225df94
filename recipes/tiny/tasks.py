"""What is asked about a sound, in many wordings, and what the right answer is."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from auricle.api import transcription_prompt
from auricle.types import DEFAULT_QUESTION

NOBODY = "Nobody speaks."
NOTHING = "I hear nothing."  # to audio tokens that are all zero: the ablation

TRANSCRIBE = (
    "What does the speaker say?",
    "What does the person say?",
    "What is the speaker saying?",
    "What is said?",
    "What is being said?",
    "What is said in this recording?",
    "What is said in this audio?",
    "What do they say?",
    "What did he say?",
    "What does she say?",
    "What words do you hear?",
    "Which words are spoken?",
    "What do you hear the speaker say?",
    "Can you tell me what the speaker says?",
    "Please write down what is said.",
    "Write down the words.",
    "Write what you hear.",
    "Transcribe this.",
    "Transcribe the audio.",
    "Transcribe this recording.",
    "Transcribe the speech.",
    "Transcribe the speech in this audio.",
    "Please transcribe this clip.",
    "Repeat what was said.",
    "Give me a transcript.",
    "Transcription?",
    transcription_prompt("English"),
)
DESCRIBE = (
    DEFAULT_QUESTION,
    "Describe what you hear.",
    "Describe this audio.",
    "Describe the sound.",
    "Describe this recording.",
    "What do you hear?",
    "What do you hear in this audio?",
    "What can you hear?",
    "What is in this recording?",
    "Tell me what you hear.",
)
KIND = (
    "What kind of sound is this?",
    "What kind of sound do you hear?",
    "What type of sound is this?",
    "What type of audio is this?",
    "What sort of sound is it?",
    "Which kind of sound is in this recording?",
    "Is this speech, music, a tone, noise or silence?",
    "What is this: speech, music, tone, noise or silence?",
    "Classify this sound.",
    "Classify the audio: speech, music, tone, noise or silence.",
    "Name the kind of sound.",
    "Sound type?",
)
INSTRUMENT = (
    "What instrument do you hear?",
    "Which instrument do you hear?",
    "What instrument is this?",
    "Which instrument is this?",
    "What instrument is playing?",
    "Which instrument is playing?",
    "What instrument is being played?",
    "Which instrument is played in this recording?",
    "Name the instrument.",
    "Identify the instrument.",
    "What music do you hear?",
    "What music is this?",
)
SPEECH = (
    "Is someone speaking?",
    "Is anyone speaking?",
    "Is somebody speaking?",
    "Is someone talking?",
    "Is anybody talking?",
    "Does someone speak?",
    "Does anyone speak in this recording?",
    "Is there speech?",
    "Is there speech in this audio?",
    "Is there any speech in this recording?",
    "Is there a voice?",
    "Do you hear speech?",
    "Do you hear a voice?",
    "Do you hear someone speaking?",
    "Can you hear a person speaking?",
    "Is a person speaking?",
    "Is this speech?",
    "Does this audio contain human speech? Answer yes or no.",
    "Is there a person talking? Yes or no?",
)
MUSIC = (
    "Is there music?",
    "Is there music in this audio?",
    "Is there any music in this recording?",
    "Is there music playing?",
    "Is music playing?",
    "Do you hear music?",
    "Can you hear music?",
    "Is this music?",
    "Does this audio contain music? Answer yes or no.",
)
PLAYS = (
    "Is there {a}?",
    "Is there {a} in this recording?",
    "Is there {a} in this audio?",
    "Is {a} playing?",
    "Do you hear {a}?",
    "Can you hear {a}?",
    "Is this {a}?",
    "Does {a} play in this recording? Answer yes or no.",
)
CHOOSE = (
    "Choose one: A) {a} B) {b}.",
    "Choose A) {a} or B) {b}.",
    "Is this A) {a} or B) {b}?",
    "What is this sound? A) {a} B) {b}",
    "What do you hear? A) {a} or B) {b}",
    "Decide: A) {a} or B) {b}. Answer with one of them.",
    "Classify this audio as A) {a} or B) {b}.",
    "Does this contain human speech? Answer A) {a} or B) {b}.",
)
LOUDER = ("Which is louder?", "Which one is louder?", "Which sound is louder?", "Which clip is the louder one?")

NAMES = {
    "piano": "a piano",
    "guitar": "a guitar",
    "flute": "a flute",
    "organ": "an organ",
    "violin": "a violin",
    "trumpet": "a trumpet",
    "drums": "drums",
    "bells": "bells",
}
# How often each question is asked where the words are not. The open ones have more answers to learn.
SHARES = {
    "kind": 0.28,
    "instrument": 0.20,
    "speech": 0.14,
    "music": 0.10,
    "plays": 0.10,
    "choose": 0.10,
    "scene": 0.08,
}
SCENES = {"tone": "A tone.", "noise": "Noise.", "silence": "Silence."}


@dataclass(frozen=True)
class Truth:
    """What a clip is."""

    kind: str  # speech, music, tone, noise or silence
    text: str = ""  # of speech
    instrument: str | None = None  # of music


def ask(rng: np.random.Generator, truth: Truth, *, transcript: float) -> tuple[str, str, bool]:
    """A question, its answer, and whether the answer writes down the words.

    Args:
        transcript: how often speech is to be transcribed rather than asked about otherwise.
    """
    if truth.kind == "speech" and truth.text and rng.random() < transcript:
        if rng.random() < 0.15:
            return _worded(rng, DESCRIBE), f"Someone says: {truth.text}", True
        return _worded(rng, TRANSCRIBE), truth.text, True
    return *_about(rng, truth), False


def louder(rng: np.random.Generator, first: bool) -> tuple[str, str]:
    """Which of two clips is the louder one."""
    return _worded(rng, LOUDER), "The first" if first else "The second"


def _about(rng: np.random.Generator, truth: Truth) -> tuple[str, str]:
    speaks, plays = truth.kind == "speech", truth.kind == "music"
    task = rng.choice(list(SHARES), p=list(SHARES.values()))
    if task == "speech":
        return _worded(rng, SPEECH), "Yes" if speaks else "No"
    if task == "kind":
        return _worded(rng, KIND), truth.kind.capitalize()
    if task == "music":
        return _worded(rng, MUSIC), "Yes" if plays else "No"
    if task == "plays":
        # Half of the questions about music name what plays.
        named = truth.instrument if plays and rng.random() < 0.5 else str(rng.choice(["piano", *NAMES]))
        assert named is not None
        return _worded(rng, PLAYS).replace("{a}", NAMES[named]), "Yes" if named == truth.instrument else "No"
    if task == "choose":
        options = ["SPEECH", str(rng.choice(["NONSPEECH", "NON-SPEECH", "NOT SPEECH"]))]
        if rng.random() < 0.3:
            options.reverse()
        right = "SPEECH" if speaks else next(o for o in options if o != "SPEECH")
        question = _worded(rng, CHOOSE).replace("{a}", options[0]).replace("{b}", options[1])
        return question, f"{'AB'[options.index(right)]}) {right}"
    if task == "instrument":
        return _worded(rng, INSTRUMENT), (truth.instrument or "none").capitalize()
    if speaks:
        return (_worded(rng, SPEECH), "Yes") if not truth.text else (_worded(rng, KIND), "Speech")
    if rng.random() < 0.5:
        return _worded(rng, TRANSCRIBE), NOBODY
    scene = f"Music: {truth.instrument}." if plays else SCENES[truth.kind]
    return _worded(rng, DESCRIBE), scene


def _worded(rng: np.random.Generator, wordings: tuple[str, ...]) -> str:
    """One of the wordings, the first of them more often; now and then without its capital or its mark."""
    question = wordings[0] if rng.random() < 0.15 else str(rng.choice(np.array(wordings, dtype=object)))
    if rng.random() < 0.1:
        question = question[0].lower() + question[1:]
    if rng.random() < 0.1:
        question = question.rstrip("?.")
    return question
