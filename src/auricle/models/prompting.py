"""From messages to the ids of a prompt, with exactly as many placeholders as there will be audio tokens."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import groupby
from typing import Any

from auricle.errors import PromptError
from auricle.models.family import Prompt
from auricle.models.text import ChatTemplate, TextCodec
from auricle.types import Message


def prompt_of(
    codec: TextCodec,
    template: ChatTemplate,
    messages: list[Message],
    tokens: Sequence[int],
    placeholder: int,
    frame: tuple[str, str] = ("", ""),
    **values: Any,
) -> Prompt:
    """Renders messages.

    Args:
        template: writes one placeholder for each clip.
        tokens: how many audio tokens each clip has, in order.
        placeholder: the id of an added token of the tokenizer's.
        frame: what stands around a clip's tokens, where the template doesn't write it.
        values: of the template.

    Raises:
        PromptError: a text holds a control token, the template refuses the messages, or makes other places of them.
    """
    for message in messages:
        for part in message.parts:
            if isinstance(part, str):
                codec.refuse_control_tokens(part)
    written = codec.token(placeholder)
    pieces = template.render(messages, **values).split(written)
    if len(pieces) != len(tokens) + 1:
        raise PromptError(
            f"the chat template made {len(pieces) - 1} places for audio out of {len(tokens)} clips: "
            "it does not fit this model"
        )
    text = pieces[0]
    for count, piece in zip(tokens, pieces[1:], strict=True):
        text += frame[0] + written * count + frame[1] + piece
    ids = codec.encode(text)
    placed = ids.count(placeholder)
    if placed != sum(tokens):
        raise PromptError(f"the prompt has {placed} audio tokens for {sum(tokens)} that the encoder gives")
    return Prompt(ids, _layout(codec, ids, placeholder))


def _layout(codec: TextCodec, ids: list[int], placeholder: int) -> list[str]:
    lines = []
    for is_audio, run in groupby(ids, lambda id: id == placeholder):
        stretch = list(run)
        text = codec.decode(stretch, with_control=True)
        lines.append(f"{codec.token(placeholder)} x {len(stretch)}" if is_audio else text)
    return lines
