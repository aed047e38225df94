"""Answers held to a constraint: one of some choices, a regular expression, or JSON of a schema.

Before each token the grammar says which tokens may come next, and all others get -inf. So an answer that ends fits,
whatever the model would rather have said. llguidance compiles the grammar and follows the answer through it, byte by
byte and along a tree of the vocabulary. Where there is a choice, any way to spell it is allowed; where there is none,
the text that must come next is spelt as the tokenizer spells it.

JSON is written on one line, as Python's json does: a space after each colon and each comma, none elsewhere. Models have
read much of that, and it ends: where white space is free, one that is unsure writes blanks until max_tokens.
"""

from __future__ import annotations

import json
import re
import threading
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from auricle.errors import AuricleError, OptionError
from auricle.models.text import TextCodec
from auricle.types import Sampling

if TYPE_CHECKING:
    from llguidance import LLMatcher, LLTokenizer
    from llguidance._lib import JsonCompileOptions

# What stands in strings: such tokens are looked up together, not one by one, which makes a mask of 10 ms one of 0.5 ms.
# This set alone is as fast as the four that llguidance has by itself, made in half the time and a third of the memory.
SLICES = [r'[^"\\\x00-\x1F\x7F]{1,30}']
ONE_LINE: JsonCompileOptions = {"whitespace_flexible": False, "item_separator": ", ", "key_separator": ": "}
WHAT_TO_DO = {
    "choices": "take that choice out, or spell it otherwise",
    "regex": r"write it without look-around, back-references and \b, in the syntax of docs.rs/regex",
    "json_schema": "change that in the schema, or leave it out",
}
SIMPLER = "make it simpler"  # where it is too large, has too many states, ...
NOTHING = {  # when the grammar leaves no token at all
    "choices": "none of the choices can be spelt with the model's tokens: give others",
    "regex": "the regex matches no text that the model could write: change it",
    "json_schema": "no JSON that the model could write fits the json_schema: change it",
}


class Constraints:
    """What constraints need of one model. Usable from several threads; what takes long is made when first needed."""

    def __init__(self, codec: TextCodec, vocabulary: int, stop_ids: frozenset[int]) -> None:
        self._codec, self._vocabulary = codec, vocabulary
        self._stop_ids = sorted(id for id in stop_ids if id < vocabulary)
        self._tokenizer: LLTokenizer | None = None
        self._making = threading.Lock()

    def start(self, sampling: Sampling) -> Held | None:
        """What holds one answer to the constraint of its settings; None when they have none.

        Raises:
            OptionError: the constraint is not understood, is too complex, or nothing fulfils it.
        """
        option = next((name for name in WHAT_TO_DO if getattr(sampling, name)), None)
        if option is None:
            return None
        if not self._stop_ids:
            raise OptionError(f"{option} needs a model that has a token to end an answer with: leave it out")
        from llguidance import LLMatcher, LLParserLimits

        tokenizer = self._opened()
        try:
            grammar = _grammar(sampling)
        except ValueError as error:
            raise _refusal(option, str(error)) from error
        for choice in sampling.choices:
            if tokenizer.decode_bytes(tokenizer.greedy_tokenize(choice)) != choice.encode():
                raise _refusal(option, f"the model's tokens can't spell {choice!r}")
        matcher = LLMatcher(tokenizer, grammar, log_level=0, limits=LLParserLimits(verbose_errors=False))
        held = Held(matcher, option, self._vocabulary)
        held.check()
        return held

    def _opened(self) -> LLTokenizer:
        """The vocabulary as a tree, which takes seconds to grow for 262,144 tokens.

        llguidance reads tokenizer.json as well, but then keeps a second tokenizer beside ours, of 100 MB for Gemma, and
        never allows a token that looks like a tag.
        """
        with self._making:
            if self._tokenizer is None:
                from llguidance import LLTokenizer, TokenizerWrapper

                size, stops = self._vocabulary, self._stop_ids
                vocabulary = _Vocabulary(self._codec, size, stops)
                vocabulary.tree = self._tokenizer = LLTokenizer(
                    TokenizerWrapper(vocabulary), n_vocab=size, eos_token=stops, slices=SLICES
                )
            return self._tokenizer


class Held:
    """One answer on its way, and what may follow. For each token: `mask` the logits, pick, `accept`."""

    def __init__(self, matcher: LLMatcher, option: str, vocabulary: int) -> None:
        self._matcher, self._option, self._vocabulary = matcher, option, vocabulary

    @property
    def complete(self) -> bool:
        """Whether the answer fulfils the constraint as it stands, so that it may end."""
        return self._matcher.is_accepting()

    def check(self) -> None:
        """Raises OptionError when the constraint is not understood, or nothing fulfils it."""
        if self._matcher.is_error():
            raise _refusal(self._option, self._matcher.get_error())
        self._allowed()

    def mask(self, logits: Tensor) -> Tensor:
        """`(vocabulary,)` logits with every token that may not come next at -inf. A stop id may when it is complete.

        Raises:
            OptionError: the constraint has become too complex, or can't be spelt to its end.
            AuricleError: the model rules out all that is allowed.
        """
        assert len(logits) == self._vocabulary, "the model's vocabulary is the one the constraint was made for"
        # Turned over while a byte holds eight tokens, then a byte for each, which a bool is as well.
        forbidden = np.unpackbits(~self._allowed(), count=len(logits), bitorder="little").view(np.bool_)
        masked = logits.masked_fill(torch.from_numpy(forbidden).to(logits.device), -torch.inf)
        if not masked.max().isfinite():  # NaN is the largest there is
            raise AuricleError(f"the model gives no token that {self._option} allows a finite score")
        return masked

    def accept(self, token: int) -> None:
        """Goes on behind the token that was picked."""
        if not self._matcher.consume_token(token):
            error = self._matcher.get_error()
            if "satisfy the grammar" not in error:  # not the token's fault: it has become too complex on the way
                raise _refusal(self._option, error)
            raise AuricleError(f"token {token} was picked against {self._option}: {_reason(error)}")

    def _allowed(self) -> np.ndarray[Any, np.dtype[np.uint8]]:
        """`(>= vocabulary / 8,)`, a bit for each token, the lowest bit of a byte first."""
        bits = np.frombuffer(self._matcher.compute_bitmask(), dtype=np.uint8)
        if self._matcher.is_error():  # for which the stop ids are allowed, lest others wait for ever
            error = self._matcher.get_error()
            raise OptionError(NOTHING[self._option]) if "NoExtension" in error else _refusal(self._option, error)
        return bits


class _Vocabulary:
    """A tokenizer as llguidance asks for it: what each token spells, and how a text is spelt."""

    bos_token_id = None
    tree: LLTokenizer  # what llguidance has made of it

    def __init__(self, codec: TextCodec, size: int, stop_ids: list[int]) -> None:
        spelt = codec.spellings()[:size]
        self.tokens = spelt + [b""] * (size - len(spelt))  # what spells nothing is never allowed
        self.special_token_ids, self.eos_token_id = stop_ids, stop_ids[0]
        self._codec = codec

    def __call__(self, text: str) -> list[int]:
        """As the model was taught to; then as it can, since "<eos>" in a choice is text; then not at all."""
        taught = self._codec.encode(text)
        if b"".join(self.tokens[id] for id in taught if id < len(self.tokens)) == text.encode():
            return taught
        greedy = self.tree.greedy_tokenize(text)
        return greedy if self.tree.decode_bytes(greedy) == text.encode() else []


def _grammar(sampling: Sampling) -> str:
    """The constraint in llguidance's own language; what it means is found out when it is compiled.

    Raises:
        ValueError: the schema is no JSON to llguidance, which is stricter than Python.
    """
    from llguidance import LLMatcher

    if sampling.choices:
        # A name in capitals is a terminal, compiled into one automaton. JSON escapes strings as this language does.
        return LLMatcher.grammar_from_lark("start: CHOICE\nCHOICE: " + " | ".join(map(json.dumps, sampling.choices)))
    if sampling.regex is not None:
        return LLMatcher.grammar_from_regex(sampling.regex)
    assert isinstance(sampling.json_schema, str), "Sampling keeps a schema as text"
    # true and false are schemas, but llguidance takes them only inside of one.
    schema = {"true": "{}", "false": '{"enum": []}'}.get(sampling.json_schema.strip(), sampling.json_schema)
    return LLMatcher.grammar_from_json_schema(schema, overrides=ONE_LINE)


def _refusal(option: str, error: str) -> OptionError:
    reason = _reason(error)
    return OptionError(f"{option} can't be held to ({reason}): {SIMPLER if ' too ' in reason else WHAT_TO_DO[option]}")


def _reason(error: str) -> str:
    """The line of llguidance's message that says what is wrong, without places in a grammar that no user sees."""
    lines = error.strip().splitlines() or ["no reason given"]
    told = next((line.removeprefix("error: ") for line in lines if line.startswith("error: ")), lines[0])
    told = re.sub(r"^(at )?\d+\(\d+\): (invalid regex \".*\" \(in regex\): )?", "", told)
    return told if len(told) <= 160 else told[:157] + "..."
