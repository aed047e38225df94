"""Answers held to a constraint: whatever is likely, those that end fit; what can't be held to is refused at once."""

from __future__ import annotations

import json
import re
import sys
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, normalizers

from auricle.bench import tokenizer as random_tokenizer
from auricle.checkpoint import Checkpoint
from auricle.engine.constraint import Constraints, Held
from auricle.engine.sampling import Sampler
from auricle.errors import AuricleError, OptionError
from auricle.models.text import TextCodec
from auricle.types import Sampling
from tests.checkpoints import make_tokenizer

PADDING = 11  # logits beyond the tokenizer's vocabulary
CONTROL = ["<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>"]


class Writer:
    """A tokenizer, and a model whose every logit is a whim."""

    def __init__(self, folder: Path) -> None:
        self.codec = TextCodec(Checkpoint(folder))
        self.spellings = self.codec.spellings()
        self.vocabulary = len(self.spellings) + PADDING
        stops = [self.codec.id(token) for token in ("<eos>", "<turn|>")]
        self.stop_ids = frozenset(id for id in stops if id is not None)
        self.never = {id for id, spelt in enumerate(self.spellings) if not spelt} - self.stop_ids
        self.never |= set(range(len(self.spellings), self.vocabulary))
        self.constraints = Constraints(self.codec, self.vocabulary, self.stop_ids)

    def start(self, **options: Any) -> Held:
        held = self.constraints.start(Sampling(**options))
        assert held is not None
        return held

    def allowed(self, held: Held) -> set[int]:
        return set(held.mask(torch.zeros(self.vocabulary)).isfinite().nonzero().flatten().tolist())

    def answer(self, seed: int, *, ending: float = 4.0, **options: Any) -> str | None:
        """One answer by chance; None when it didn't come to its end. `ending` makes stop tokens likelier."""
        held = self.start(**options)
        sampler = Sampler(Sampling(temperature=1.0, seed=seed, **options), [], held)
        whims = torch.Generator().manual_seed(seed)
        written: list[int] = []
        for _ in range(300):
            allowed = self.allowed(held)
            assert not allowed & self.never
            # To end, and with either token, is allowed when the answer fulfils the constraint, and only then.
            assert allowed & self.stop_ids == (self.stop_ids if held.complete else set())
            logits = 3 * torch.randn(self.vocabulary, generator=whims)
            logits[list(self.stop_ids)] += ending
            token = sampler.pick(logits)
            assert token in allowed
            if token in self.stop_ids:
                assert held.complete
                text = self.codec.decode(written)
                assert text.encode() == b"".join(self.spellings[id] for id in written)
                return text
            written.append(token)
        return None

    def answers(self, count: int, **options: Any) -> list[str]:
        found = [self.answer(seed, **options) for seed in range(count)]
        ended = [text for text in found if text is not None]
        assert len(ended) > count // 2
        return ended


@pytest.fixture(scope="module", params=["byte-level", "tiny", "whole characters", "fillers"])
def writer(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Writer:
    """With each kind of tokenizer: the tests' own and the built-in model's, which are byte-level; one as Gemma's."""
    import auricle

    if request.param == "tiny":
        return Writer(Path(auricle.__file__).parent / "assets" / "tiny")
    folder = tmp_path_factory.mktemp("tokenizer")
    (folder / "config.json").write_text('{"model_type": "scripted"}')
    if request.param == "byte-level":
        make_tokenizer(folder)
    elif request.param == "fillers":  # which has no token that is a space: it takes a byte, and a text another's three
        audio = {"boa_token_id": 600, "audio_token_id": 601, "eoa_token_index": 602}
        for name, content in random_tokenizer.files(
            {**audio, "model_type": "gemma4", "text_config": {"vocab_size": 620}}
        ):
            (folder / name).write_bytes(content)
    else:
        _like_gemma().save(str(folder / "tokenizer.json"))
    return Writer(folder)


def _like_gemma() -> Tokenizer:
    """Characters and words with ▁ for a space, bytes for other characters, line breaks and blanks as added tokens."""
    words = ["▁yes", "yes", "▁please", "ple", "ase", "no", '":', "▁{", '{"', '",', '▁"', "true", "null", "12", "▁▁"]
    added = ["\n", "\n\n", "▁▁▁", "<table>"]
    letters = map(chr, range(ord("!"), ord("~") + 1))
    written = [*CONTROL, *(f"<0x{byte:02X}>" for byte in range(256)), *letters, "▁", "é", "音", *words, *added]
    vocabulary = {token: id for id, token in enumerate(written)}
    tokenizer = Tokenizer(models.BPE(vocab=vocabulary, merges=[], unk_token="<unk>", byte_fallback=True))
    tokenizer.normalizer = normalizers.Replace(" ", "▁")
    tokenizer.decoder = decoders.Sequence([decoders.Replace("▁", " "), decoders.ByteFallback(), decoders.Fuse()])
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in CONTROL])
    tokenizer.add_tokens([AddedToken(token, normalized=False) for token in added])
    return tokenizer


def test_without_a_constraint_nothing_is_held(writer: Writer) -> None:
    assert Constraints(writer.codec, writer.vocabulary, writer.stop_ids).start(Sampling(stop=("x",))) is None


# --- choices


@pytest.mark.parametrize(
    "choices",
    [
        ("yes", "no"),
        ("yes", "yes please", "yesterday", "ye"),
        ("a|b", "a", "(a)*", ".", "[^x]", "\\d", "$", "^", "a{2}"),
        ('say "hi"', "it's", "back\\slash", "/slash/", "two\nlines", "tab\there", "nul\0", "del\x7f", "line\u2028sep"),
        ("für", "音", "音楽", "🎵", "👩‍🚀", "e\u0301", "é", "naïve café", "▁"),
        ("<eos>", "<|turn>user", "%ignore", "//", "two  blanks", "<0x41>", "\N{REPLACEMENT CHARACTER}"),
    ],
    ids=lambda choices: choices[0],
)
def test_every_choice_is_reached_and_nothing_else(writer: Writer, choices: tuple[str, ...]) -> None:
    found = {writer.answer(seed, choices=choices, ending=1.0) for seed in range(12 * len(choices))}
    assert found <= set(choices)
    for choice in choices:
        assert _spelt_out(writer, writer.start(choices=choices), choice).complete
        assert writer.answer(0, choices=(choice,)) == choice  # each token is forced


def test_many_choices(writer: Writer) -> None:
    choices = tuple(f"answer {i}" for i in range(3000))
    assert set(writer.answers(10, choices=choices)) <= set(choices)


def test_choices_that_ended_leave_only_the_end(writer: Writer) -> None:
    held = _spelt_out(writer, writer.start(choices=("yes", "no")), "yes")
    assert writer.allowed(held) == writer.stop_ids
    held.accept(max(writer.stop_ids))
    assert held.complete


# --- regular expressions


@pytest.mark.parametrize(
    "regex",
    [
        "yes|no|not sure",
        "^(yes|no)$",
        "[0-9]{4}-[0-9]{2}-[0-9]{2}",
        "[a-z]+( [a-z]+){0,3}",
        "-?[0-9]{1,3}(\\.[0-9]+)?",
        "(?i)yes",
        "[^x]{1,4}",
        "(a|b/c)*",
        'say "[a-z]*"',
        "[äöü]+",
        r"(one\n){2}",
        r"\p{Lu}.",
        "音+🎵?",
        "a*?",
    ],
)
def test_a_regex_matches_the_whole_answer(writer: Writer, regex: str) -> None:
    python = regex.replace(r"\p{Lu}", "\\w")  # which Python's re has not
    for text in writer.answers(10, regex=regex):
        assert re.fullmatch(python, text), text


def test_any_text_is_still_text(writer: Writer) -> None:
    """Bytes come to whole characters, and control tokens are no part of it."""
    texts = writer.answers(15, regex="(?s).*", ending=6.0)
    assert any(not text.isascii() for text in texts)
    assert not any(control in text for control in CONTROL for text in texts)


# --- JSON


PERSON = {
    "type": "object",
    "properties": {
        "name": {"type": "string", "maxLength": 6},
        "age": {"type": "integer", "minimum": 0, "maximum": 130},
        "tags": {"type": "array", "items": {"enum": ["a", "b c", 'd"e']}, "minItems": 1, "maxItems": 3},
        "loud": {"type": ["boolean", "null"]},
    },
    "required": ["name", "age", "tags"],
    "additionalProperties": False,
}


@pytest.mark.parametrize("given", [PERSON, json.dumps(PERSON, indent=2)], ids=["objects", "text"])
def test_json_fits_its_schema(writer: Writer, given: Any) -> None:
    for text in writer.answers(20, json_schema=given):
        found = json.loads(text)
        assert list(found)[:3] == ["name", "age", "tags"]
        assert set(found) <= set(PERSON["properties"])  # type: ignore[call-overload]
        assert isinstance(found["name"], str)
        assert len(found["name"]) <= 6
        assert type(found["age"]) is int
        assert 0 <= found["age"] <= 130
        assert 1 <= len(found["tags"]) <= 3
        assert set(found["tags"]) <= {"a", "b c", 'd"e'}
        assert found.get("loud") in (True, False, None)


@pytest.mark.parametrize(
    ("schema", "fits"),
    [
        ({"enum": [1, "one", None, {"a": [1, 2]}]}, lambda x: x in [1, "one", None, {"a": [1, 2]}]),
        ({"const": {"a": {"b": "c"}}}, lambda x: x == {"a": {"b": "c"}}),
        ({"type": "string", "pattern": "^[ab]+$"}, lambda x: re.fullmatch("[ab]+", x)),
        ({"type": "string", "format": "date"}, lambda x: re.fullmatch(r"\d{4}-\d\d-\d\d", x)),
        (
            {"anyOf": [{"type": "boolean"}, {"type": "integer", "multipleOf": 3}]},
            lambda x: type(x) is bool or x % 3 == 0,
        ),
        (
            {
                "$defs": {"tree": {"type": "array", "items": {"$ref": "#/$defs/tree"}, "maxItems": 2}},
                "$ref": "#/$defs/tree",
            },
            lambda x: isinstance(x, list) and len(x) <= 2,
        ),
        ("true", lambda x: True),
    ],
    ids=str,
)
def test_json_of_other_schemas(writer: Writer, schema: Any, fits: Callable[[Any], bool]) -> None:
    for text in writer.answers(10, json_schema=schema, ending=9.0):
        assert fits(json.loads(text)), text


@pytest.mark.parametrize("own", [{}, {"x-guidance": {"whitespace_flexible": True, "item_separator": ","}}])
def test_json_is_on_one_line_as_python_writes_it(writer: Writer, own: dict[str, Any]) -> None:
    integers = {"type": "array", "items": {"type": "integer"}, "minItems": 2}
    schema = {"type": "object", "properties": {"a": integers, "b": integers}, "required": ["a", "b"], **own}
    schema["additionalProperties"] = False
    for text in writer.answers(10, json_schema=schema):
        assert re.fullmatch(r'\{"a": \[-?\d+(, -?\d+)+\], "b": \[-?\d+(, -?\d+)+\]\}', text), text


# --- what is refused


@pytest.mark.parametrize(
    ("options", "told"),
    [
        ({"regex": "["}, "regex can't be held to (unclosed character class): write it without look-around"),
        ({"regex": "x{3,1}"}, "invalid repetition count range"),
        ({"regex": "a\n("}, "unclosed group"),
        ({"regex": "a(?=b)"}, "look-around, including look-ahead and look-behind, is not supported"),
        ({"regex": r"(a)\1"}, "backreferences are not supported"),
        ({"regex": r"\byes"}, "lookarounds not supported yet"),
        ({"regex": "a^"}, "lookarounds not supported yet"),
        ({"regex": r"[^\s\S]"}, "the regex matches no text that the model could write: change it"),
        ({"regex": r"a[^\s\S]"}, "the regex matches no text"),
        ({"json_schema": {"enum": []}}, "json_schema can't be held to (Unsatisfiable schema: anyOf is empty)"),
        ({"json_schema": "false"}, "Unsatisfiable schema"),
        (
            {"json_schema": {"type": "string", "minLength": 3, "maxLength": 1}},
            "minLength (3) is greater than maxLength (1)",
        ),
        ({"json_schema": {"type": "strnig"}}, "Invalid type: strnig"),
        ({"json_schema": {"not": {"type": "string"}}}, 'Unimplemented keys: ["not"]): change that in the schema'),
        ({"json_schema": {"$ref": "http://localhost/x"}}, "http://localhost/x"),
        ({"json_schema": {"type": "string", "pattern": "a("}}, "unclosed group"),
        ({"json_schema": '{"enum": [NaN]}'}, "json_schema can't be held to (expected value at line 1"),
        (
            {"json_schema": {"enum": [str(i) for i in range(200_000)]}},
            "too big (limit for this grammar: 1000000)): make it",
        ),
    ],
    ids=lambda value: str(value)[:60],
)
def test_a_constraint_that_cannot_be_held_to(writer: Writer, options: dict[str, Any], told: str) -> None:
    with pytest.raises(OptionError) as caught:
        writer.start(**options)
    message = str(caught.value)
    assert told in message
    assert len(message.splitlines()) == 1
    assert len(message) < 300


def test_one_that_becomes_too_complex_on_the_way(writer: Writer) -> None:
    regex = "|".join(f"(?:.*[^a-m].{{{3 * i + 3}}})*" for i in range(40))
    with pytest.raises(OptionError, match=r"regex can't be held to \(.* too many .*\): make it simpler") as caught:
        writer.answer(0, regex=regex, ending=-1000)
    assert len(str(caught.value).splitlines()) == 1


def test_what_the_tokenizer_cannot_spell(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"model_type": "scripted"}')
    words = {token: id for id, token in enumerate([*CONTROL, "Ġ", *"yesnomabcd"])}
    tokenizer = Tokenizer(models.BPE(words, []))
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True) for token in CONTROL])
    tokenizer.save(str(tmp_path / "tokenizer.json"))
    writer = Writer(tmp_path)
    assert set(writer.answers(20, choices=("yes", "no"))) == {"yes", "no"}
    with pytest.raises(
        OptionError, match=r"choices can't be held to \(the model's tokens can't spell 'maybe!'\): take"
    ):
        writer.start(choices=("yes", "maybe!"))
    with pytest.raises(OptionError, match="the regex matches no text that the model could write: change it"):
        writer.start(regex="[0-9]+")
    held = _spelt_out(writer, writer.start(regex="yes[0-9]"), "yes")
    with pytest.raises(OptionError, match="the regex matches no text that the model could write"):
        held.mask(torch.zeros(writer.vocabulary))


def test_a_model_without_a_stop_token(writer: Writer) -> None:
    for stops in (frozenset[int](), frozenset({writer.vocabulary})):
        with pytest.raises(OptionError, match="regex needs a model that has a token to end an answer with"):
            Constraints(writer.codec, writer.vocabulary, stops).start(Sampling(regex="a"))


def test_logits_that_rule_out_all_that_is_allowed(writer: Writer) -> None:
    held = writer.start(choices=("yes", "no"))
    for value in (-torch.inf, torch.nan):
        with pytest.raises(AuricleError, match="the model gives no token that choices allows a finite score"):
            held.mask(torch.full((writer.vocabulary,), value))


def test_a_token_that_is_not_allowed(writer: Writer) -> None:
    wrong = writer.spellings.index(b"z")
    with pytest.raises(AuricleError, match=f"token {wrong} was picked against choices: .*") as caught:
        writer.start(choices=("yes", "no")).accept(wrong)
    assert len(str(caught.value).splitlines()) == 1


# --- how it is done


def test_the_logits_given_are_left_alone(writer: Writer) -> None:
    logits = torch.randn(writer.vocabulary)
    before = logits.clone()
    masked = writer.start(choices=("yes", "no")).mask(logits)
    assert torch.equal(logits, before)
    kept = masked.isfinite()
    assert torch.equal(masked[kept], logits[kept])


@pytest.mark.gpu
def test_logits_are_masked_where_they_are(writer: Writer) -> None:
    logits, held = torch.randn(writer.vocabulary), writer.start(choices=("yes", "no"))
    masked = held.mask(logits.cuda())
    assert masked.is_cuda
    assert torch.equal(masked.cpu(), held.mask(logits))


def test_a_smaller_vocabulary_than_the_tokenizers(writer: Writer) -> None:
    """Ids that the model has no logit for are never allowed, nor missed."""
    size = len(writer.spellings) - 5
    constraints = Constraints(writer.codec, size, writer.stop_ids | {size + 1})
    held = constraints.start(Sampling(regex="[a-z]+"))
    assert held is not None
    assert held.mask(torch.zeros(size)).isfinite().any()


def test_answers_do_not_disturb_each_other(writer: Writer) -> None:
    """Many at once, of one tokenizer that is made once."""
    constraints = Constraints(writer.codec, writer.vocabulary, writer.stop_ids)
    asked: list[int] = []
    spellings = writer.codec.spellings
    writer.codec.spellings = lambda: asked.append(1) or spellings()  # type: ignore[method-assign,func-returns-value]
    found: list[Held | None] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(constraints.start(Sampling(regex=f"{n}{{3}}"))))
        for n in range(8)
    ]
    try:
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        del writer.codec.spellings
    assert len(asked) == 1
    assert len(found) == 8
    first, second = writer.start(choices=("yes", "no")), writer.start(choices=("yes", "no"))
    _spelt_out(writer, first, "yes")
    assert (first.complete, second.complete) == (True, False)


def test_llguidance_is_imported_when_it_is_needed() -> None:
    import subprocess

    code = "import sys, auricle.engine.constraint, auricle.engine.sampling; sys.exit('llguidance' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


# --- what the tokenizer spells


@pytest.mark.parametrize(
    "text", ["What does the speaker say?", "für 音 🎵", " two  blanks\n\nand lines\n", "<table>{}"]
)
def test_spellings_come_to_what_is_decoded(writer: Writer, text: str) -> None:
    ids = writer.codec.encode(text)
    assert b"".join(writer.spellings[id] for id in ids) == writer.codec.decode(ids).encode()


def test_control_tokens_spell_nothing(writer: Writer) -> None:
    for token in CONTROL:
        id = writer.codec.id(token)
        assert id is not None
        assert writer.spellings[id] == b""


def test_every_byte_can_be_spelt(writer: Writer) -> None:
    assert {bytes([byte]) for byte in range(256)} <= set(writer.spellings)


def _spelt_out(writer: Writer, held: Held, text: str) -> Held:
    """The answer so far, letter by letter: each as one token where there is one, else byte by byte."""
    for letter in text:
        whole = next((id for id, spelt in enumerate(writer.spellings) if spelt == letter.encode()), None)
        ids = [whole] if whole is not None else [writer.spellings.index(bytes([byte])) for byte in letter.encode()]
        for id in ids:
            held.accept(id)
    return held
