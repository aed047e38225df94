"""Messages to what an audio-text-to-text model reads, and the audio tokens in it counted.

The processor writes the prompt and puts the audio tokens in. That it did is checked: features of the sound must stand
among the inputs, and their placeholders in the prompt. A processor that gets something it doesn't understand leaves it
out without a word, and the model then answers about a sound that it never heard.
"""

from __future__ import annotations

import base64
import io
from collections.abc import Sequence
from itertools import groupby
from typing import Any

import soundfile

from auricle.backends.transformers.library import one_line
from auricle.backends.transformers.loading import Loaded
from auricle.errors import AuricleError, PromptError, SoundError, UnsupportedError
from auricle.types import Audio, Message, Segment


def has_template(loaded: Loaded) -> bool:
    """Whether the model was trained to chat, in a form that its files tell."""
    return _by_mistral(loaded) or bool(getattr(loaded.processor, "chat_template", None))


def _by_mistral(loaded: Loaded) -> bool:
    """Whether mistral-common writes the prompts, which has the template within."""
    return type(loaded.tokenizer).__name__ == "MistralCommonBackend"


class Prompts:
    """The prompts of one model."""

    def __init__(self, loaded: Loaded) -> None:
        self._loaded, self._processor, self._tokenizer = loaded, loaded.processor, loaded.tokenizer
        self._mistral = _by_mistral(loaded)
        self.has_template = has_template(loaded)
        self.placeholder = self._placeholder()
        special = () if self._mistral else getattr(self._tokenizer, "added_tokens_decoder", {}).values()
        self._control = [token.content for token in special if token.special]  # mistral-common reads none in a text

    def inputs(self, messages: Sequence[Message]) -> tuple[dict[str, Any], tuple[Segment, ...]]:
        """Inputs of the model, and each clip with its number of audio tokens.

        Raises:
            PromptError: the messages don't fit the model's template, or a text has one of its control tokens.
            SoundError: the processor dropped a sound.
        """
        for message in messages:
            for part in message.parts:
                if isinstance(part, str):
                    self.refuse_control_tokens(part)
        try:
            features = self._templated(messages) if self.has_template else self._plain(messages)
        except AuricleError:
            raise
        except Exception as error:  # a template is a program, and a processor refuses in any way it likes
            raise PromptError(f"the model's processor refuses these messages ({one_line(error)})") from error
        inputs = self._loaded.inputs(features)
        audios = [part for message in messages for part in message.parts if isinstance(part, Audio)]
        return inputs, self._segments(inputs, audios)

    def _templated(self, messages: Sequence[Message]) -> Any:
        conversation = [
            {"role": message.role, "content": [self._content(part) for part in message.parts]} for message in messages
        ]
        return self._processor.apply_chat_template(
            conversation, add_generation_prompt=True, tokenize=True, return_dict=True, return_tensors="pt"
        )

    def _content(self, part: str | Audio) -> dict[str, Any]:
        if isinstance(part, str):
            return {"type": "text", "text": part}
        if not self._mistral:
            return {"type": "audio", "audio": part.samples}
        file = io.BytesIO()  # mistral-common takes files only; in float32 nothing of the sound is lost
        soundfile.write(file, part.samples, part.rate, format="WAV", subtype="FLOAT")
        return {"type": "audio", "base64": base64.b64encode(file.getvalue()).decode()}

    def _plain(self, messages: Sequence[Message]) -> Any:
        """A model that was trained without a template reads one turn, as it is."""
        if len(messages) != 1:
            raise UnsupportedError(
                f"{self._loaded.name} has no chat template and takes one question, not {len(messages)} messages: "
                "ask anew, or choose a model that was trained to chat"
            )
        token = self._tokenizer.convert_ids_to_tokens(self.placeholder)
        parts = messages[0].parts
        text = "".join(part if isinstance(part, str) else token for part in parts)
        audios = [part.samples for part in parts if isinstance(part, Audio)]
        return self._processor(text=text, audio=audios, sampling_rate=self._loaded.rate, return_tensors="pt")

    def _segments(self, inputs: dict[str, Any], audios: Sequence[Audio]) -> tuple[Segment, ...]:
        """How many audio tokens each clip became: stretches of placeholders, in order."""
        names = set(getattr(self._loaded.extractor, "model_input_names", ())) & inputs.keys()
        heard = any(inputs[name].numel() for name in names if name != "attention_mask")
        ids = inputs["input_ids"][0].tolist()
        runs = [len(list(run)) for placeholder, run in groupby(ids, self.placeholder.__eq__) if placeholder]
        if audios and not (heard and runs):
            what = "no features of it" if not heard else "no audio token in the prompt"
            raise SoundError(
                f"{audios[0].source} was dropped by the model's processor ({type(self._processor).__name__} gave "
                f"{what}), so that no answer would be about it: it has {audios[0].seconds:.3f} s, which may be too "
                "short, or the model's files are incomplete"
            )
        if len(runs) != len(audios):
            raise UnsupportedError(
                f"the prompt has {len(runs)} stretches of audio tokens for {len(audios)} clips, so that what became of "
                "each can't be told: ask about one at a time"
            )
        return tuple(
            Segment(audio.source, audio.start_s, audio.start_s + audio.seconds, tokens)
            for audio, tokens in zip(audios, runs, strict=True)
        )

    def _placeholder(self) -> int:
        """The id that stands in the prompt for a piece of sound, by any of the names it goes by."""
        for owner in (self._processor, self._loaded.model.config):
            for name in ("audio_token_id", "audio_token_index"):
                if isinstance(found := getattr(owner, name, None), int):
                    return found
        token = getattr(self._processor, "audio_token", None)
        found = self._tokenizer.convert_tokens_to_ids(token) if isinstance(token, str) else None
        if not isinstance(found, int):
            raise UnsupportedError(
                f"{self._loaded.name} names no audio token, so that it can't be told what of a sound it hears: "
                "choose another model"
            )
        return found

    def refuse_control_tokens(self, text: str) -> None:
        """A user's text must not open a turn or pose as audio."""
        for token in self._control:
            if token in text:
                raise PromptError(f"the text contains the control token {token!r}: take it out")
