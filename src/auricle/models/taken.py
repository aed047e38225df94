"""What some layers of a stack give, taken on the way."""

from __future__ import annotations

from collections.abc import Sequence

from torch import Tensor


class Taken:
    """Takes what the asked layers give in one pass, and says when the last of them is there: layer 0 is what the first
    block is given, layer n what block n gives. Nothing is kept of the others.
    """

    def __init__(self, layers: Sequence[int]) -> None:
        assert layers, "at least one layer is asked for"
        self._places = {layer: place for place, layer in enumerate(layers)}
        self._last = max(layers)
        self._found: Tensor | None = None  # room for all, so that none is held twice

    def add(self, layer: int, x: Tensor, rows: Tensor | None = None) -> bool:
        """Takes a layer's `(batch, tokens, width)`, or of its tokens those at `rows`, if it is asked for.

        Returns:
            Whether no later layer is: the pass can end here.
        """
        if layer in self._places:
            x = x if rows is None else x[:, rows]
            if self._found is None:
                self._found = x.new_empty(len(self._places), *x.shape)
            self._found[self._places[layer]] = x
        return layer >= self._last

    def all(self) -> Tensor:
        """`(layers, batch, tokens, width)`, in the order in which the layers were asked for."""
        assert self._found is not None, "the pass has taken none"
        return self._found
