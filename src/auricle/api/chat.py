"""A conversation that keeps its turns."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from auricle.api.model import Model
from auricle.api.sounds import Sound, user_message
from auricle.types import AskOptions, Chunk, Message, Order

if TYPE_CHECKING:
    from typing import Unpack


class Chat:
    """A conversation about sounds, turn by turn. The first question carries the sounds; later ones refer to them."""

    def __init__(self, model: Model, audio: Sound | Sequence[Sound], *, order: Order | None = None) -> None:
        self.model = model
        self.messages: list[Message] = []
        self._audio, self._order = audio, order

    def say(self, text: str, **options: Unpack[AskOptions]) -> Iterator[Chunk]:
        """Asks, and keeps question and answer once the answer is complete; errors as for `Model.stream`."""
        turn = Message("user", (text,)) if self.messages else self._first(text)
        for chunk in self.model.chat([*self.messages, turn], **options):
            if chunk.answer is not None:
                self.messages += [turn, Message("assistant", (chunk.answer.text,))]
            yield chunk

    def _first(self, text: str) -> Message:
        return user_message(self._audio, text, self._order or self.model.backend.order)
