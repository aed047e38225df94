"""What models are told when it is not the caller's own question."""

from __future__ import annotations

from auricle.errors import OptionError

TRANSCRIBE_TOKENS = 440  # the default limit for one piece of at most 30 s: fast speech has about 5 words a second


def live_instruction(instruction: str | None, language: str) -> str:
    """What a live session is told: the instruction, or without one to write down what is said."""
    if instruction is None:
        return transcription_prompt(language)
    if not instruction.strip():
        raise OptionError("the instruction is empty: say what to do with the sound, or leave it out to transcribe")
    return instruction


def transcription_prompt(language: str, *, translate: bool = False) -> str:
    """The instruction of Gemma 4's model card for transcription, and how to write it down; or a translation instead."""
    if translate:
        source = "" if language == "English" else f" in {language}"  # English is what nobody has said otherwise
        return (
            f"Translate the following speech segment{source} into English text. "
            "Write only the translation, without line breaks, and numbers as digits."
        )
    return (
        f"Transcribe the following speech segment in {language} into {language} text. "
        "Write only the transcription, without line breaks, and numbers as digits."
    )
