"""Text to token ids and back, and chat templates: shared by all families, read from the checkpoint's own files."""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from typing import Any

import jinja2
from jinja2.sandbox import ImmutableSandboxedEnvironment
from tokenizers import Tokenizer, decoders

from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError, PromptError
from auricle.types import Audio, Message

_BYTE = re.compile("<0x([0-9A-F]{2})>")  # a token that is one byte of a character, in vocabularies of whole characters


class TextCodec:
    """A checkpoint's tokenizer."""

    def __init__(self, checkpoint: Checkpoint) -> None:
        path = checkpoint.folder / "tokenizer.json"
        if not path.is_file():
            raise CheckpointError(f"{checkpoint.folder} has no tokenizer.json: fetch the model again")
        try:
            self._tokenizer = Tokenizer.from_file(str(path))
        except Exception as error:  # the library raises bare Exception for anything wrong in the file
            raise CheckpointError(f"{path} can't be read as a tokenizer ({error}): fetch the model again") from error
        added = self._tokenizer.get_added_tokens_decoder()
        self._added = {id: token.content for id, token in added.items()}
        self._control = {token.content: id for id, token in added.items() if token.special}

    def encode(self, text: str) -> list[int]:
        """Ids of a rendered prompt; control tokens written in it become themselves, none is added."""
        ids: list[int] = self._tokenizer.encode(text, add_special_tokens=False).ids
        return ids

    def decode(self, ids: list[int], *, with_control: bool = False) -> str:
        """Text of ids, control tokens left out unless asked for."""
        text: str = self._tokenizer.decode(ids, skip_special_tokens=not with_control)
        return text

    def id(self, token: str) -> int | None:
        found: int | None = self._tokenizer.token_to_id(token)
        return found

    def token(self, id: int) -> str:
        """How the tokenizer writes one id, control tokens included."""
        return self._tokenizer.id_to_token(id) or f"<{id}>"

    def added(self, id: int) -> str | None:
        """How an added token is written: one that stays whole whatever stands around it. None for any other id."""
        return self._added.get(id)

    def spelling(self, id: int) -> bytes:
        """What one id adds to a text, in bytes; of a control token, its name."""
        token = self.token(id)
        if token in self._control:
            return token.encode()
        if isinstance(self._tokenizer.decoder, decoders.ByteLevel):
            return _by_letters(id, token)
        byte = _BYTE.fullmatch(token)
        return bytes([int(byte[1], 16)]) if byte else token.replace("▁", " ").encode()

    def spellings(self) -> list[bytes]:
        """What each id adds to a text, in bytes; nothing for control tokens and for ids that are not used."""
        tokens = {id: token for token, id in self._tokenizer.get_vocab(with_added_tokens=True).items()}
        spelling = _by_letters if isinstance(self._tokenizer.decoder, decoders.ByteLevel) else self._by_decoding(tokens)
        spelt = [b""] * (max(tokens) + 1)
        for id in tokens.keys() - set(self._control.values()):
            spelt[id] = spelling(id, tokens[id])
        return spelt

    def _by_decoding(self, tokens: dict[int, str]) -> Callable[[int, str], bytes]:
        first = next(id for id in sorted(tokens) if self.decode([id]))
        start = len(self.decode([first]))

        def spelling(id: int, token: str) -> bytes:
            text = self.decode([first, id])[start:]  # as the second, since some decoders trim the beginning
            if "\N{REPLACEMENT CHARACTER}" not in text:
                return text.encode()
            byte = _BYTE.fullmatch(token)
            return bytes([int(byte[1], 16)]) if byte else b""

        return spelling

    def refuse_control_tokens(self, text: str) -> None:
        """A user's text must not open a turn or pose as audio: a control token in it is an error."""
        for token in self._control:
            if token in text:
                raise PromptError(f"the text contains the control token {token!r}: take it out")


def _by_letters(id: int, token: str) -> bytes:
    """As a byte-level decoder does it: an added token may hold other letters, and then stands for itself."""
    letters = _byte_letters()
    known = [letters[letter] for letter in token if letter in letters]
    return bytes(known) if len(known) == len(token) else token.encode()


@cache
def _byte_letters() -> dict[str, int]:
    """Which byte a letter stands for in byte-level vocabularies (GPT-2's table: what can't be printed got others)."""
    plain = [*range(ord("!"), ord("~") + 1), *range(ord("¡"), ord("¬") + 1), *range(ord("®"), ord("ÿ") + 1)]
    others = [byte for byte in range(256) if byte not in plain]
    return {chr(byte): byte for byte in plain} | {chr(256 + i): byte for i, byte in enumerate(others)}


class Detokenizer:
    """Turns sampled ids into text piece by piece, holding back a character until all its bytes are there."""

    _INCOMPLETE = "\N{REPLACEMENT CHARACTER}"

    def __init__(self, codec: TextCodec) -> None:
        self._codec = codec
        self._ids: list[int] = []
        self._start = 0  # of the ids decoded together: how one is spelled depends on the one before it
        self._done = 0  # ids whose text was given out

    def add(self, id: int) -> str:
        """The text that has become final with this id; often empty."""
        self._ids.append(id)
        text = self._pending()
        if text.endswith(self._INCOMPLETE):
            return ""
        self._start, self._done = self._done, len(self._ids)
        return text

    def flush(self) -> str:
        """What is left at the end, incomplete characters included."""
        text = self._pending()
        self._start = self._done = len(self._ids)
        return text

    def _pending(self) -> str:
        before = self._codec.decode(self._ids[self._start : self._done])
        return self._codec.decode(self._ids[self._start :])[len(before) :]


class ChatTemplate:
    """Renders messages as the checkpoint's own template says, or as the family's default does."""

    def __init__(self, checkpoint: Checkpoint, default: str, fits: Callable[[str], bool] = bool) -> None:
        """
        Args:
            default: for a checkpoint without a template, or with one that does not fit.
            fits: whether the checkpoint's own is one for this model: a tokenizer's may be another model's.
        """
        settings = checkpoint.json("tokenizer_config.json")
        source = _template_of(checkpoint, settings)
        if source is not None and not fits(source):
            source = None
        self._values = {name: _content(settings.get(name)) for name in ("bos_token", "eos_token", "pad_token")}
        # As transformers sets it up, since that is what templates are written for.
        environment = ImmutableSandboxedEnvironment(
            trim_blocks=True, lstrip_blocks=True, extensions=["jinja2.ext.loopcontrols"]
        )
        environment.globals["raise_exception"] = _refuse
        try:
            self._template = environment.from_string(source or default)
        except jinja2.TemplateError as error:
            raise CheckpointError(f"the chat template of {checkpoint.folder} can't be read: {error}") from error

    def render(self, messages: list[Message], **values: Any) -> str:
        """The prompt up to where the model's turn begins; every sound is one placeholder of the template's."""
        rendered = [
            {
                "role": message.role,
                "content": [
                    {"type": "audio"} if isinstance(part, Audio) else {"type": "text", "text": part}
                    for part in message.parts
                ],
            }
            for message in messages
        ]
        try:
            return self._template.render(messages=rendered, add_generation_prompt=True, **{**self._values, **values})
        except Exception as error:  # a template is a program, and may fail in any way
            raise PromptError(f"the model's chat template refuses these messages: {error}") from error


def _template_of(checkpoint: Checkpoint, settings: dict[str, Any]) -> str | None:
    """A checkpoint's template, from the files that it may stand in: a processor's before a tokenizer's."""
    path = checkpoint.folder / "chat_template.jinja"
    if path.is_file():
        return path.read_text(encoding="utf-8")
    source = checkpoint.json("chat_template.json").get("chat_template") or settings.get("chat_template")
    if isinstance(source, list):  # named variants, as older checkpoints write them
        source = {entry["name"]: entry["template"] for entry in source}.get("default")
    return source


def _content(token: str | dict[str, Any] | None) -> str:
    return token["content"] if isinstance(token, dict) else token or ""


def _refuse(message: str) -> None:
    raise jinja2.TemplateError(message)
