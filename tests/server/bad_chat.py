"""Bad requests to /v1/chat/completions: bodies, words, options and what an answer is held to."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import numpy as np

from tests.server.bad import Bad, body, chat, heard, part, shown, turn
from tests.server.conftest import asking, encoded

DEEP = "[" * 100_000 + "]" * 100_000
DIGITS = "9" * 10_000


# --- what a body is made of


def bodies() -> Iterator[Bad]:
    good = json.dumps(asking("What?"))
    yield body("no body", 400, b"")
    for name, text in (
        ("half a body", good[: len(good) // 2]),
        ("words", "hello"),
        ("a string", '"hello"'),
        ("a number", "1"),
        ("a list", "[]"),
        ("null", "null"),
        ("nothing in an object", "{}"),
        ("two objects", good + good),
        ("single quotes", good.replace('"', "'")),
        ("a comma too many", good[:-1] + ",}"),
        ("a comment", "/* hi */" + good),
        ("a form's fields", "model=tiny&messages=hello"),
        ("deep lists", '{"model":"tiny","messages":' + DEEP + "}"),
        ("deep lists and nothing else", DEEP),
        ("deep lists that never end", "[" * 100_000),
        ("deep objects", '{"a":' * 100_000 + "1" + "}" * 100_000),
        ("NaN", good[:-1] + ', "temperature": NaN}'),
        ("Infinity", good[:-1] + ', "timeout_s": Infinity}'),
        ("minus Infinity", good[:-1] + ', "seed": -Infinity}'),
        ("1e400", good[:-1] + ', "temperature": 1e400}'),
        ("1e400 for a whole number", good[:-1] + ', "seed": 1e400}'),
        ("10,000 digits", good[:-1] + f', "max_tokens": {DIGITS}}}'),
        ("4,000 digits", good[:-1] + f', "max_tokens": {DIGITS[:4000]}}}'),
        ("4,000 digits below zero", good[:-1] + f', "n": -{DIGITS[:4000]}}}'),
        ("10,000 digits behind the point", good[:-1] + f', "temperature": 999.{DIGITS}}}'),
        ("a key twice", good[:-1] + ', "model": "tiny"}'),
        ("a key twice, far down", good.replace('"text": ', '"text": "secret", "text": ')),
        ("half a surrogate pair", good.replace("What", "\\ud83d")),
        ("half a surrogate pair as a key", good[:-1] + ', "\\udc00": 1}'),
        ("half a surrogate pair as a model", good.replace("tiny", "\\udfff")),
        ("a control character in a string", good.replace("What", "a\nb")),
        ("a million lists", '{"model":"tiny","messages":[' + "[]," * 1_000_000 + "[]]}"),
        ("a million empty objects", '{"model":"tiny","messages":[' + "{}," * 1_000_000 + "{}]}"),
        ("a hundred thousand fields", "{" + ",".join(f'"{n}":1' for n in range(100_000)) + "}"),
    ):
        yield body(f"a body of {name}", 413 if "million" in name or "thousand fields" in name else 400, text)
    yield body("a body that is no UTF-8", 400, good.replace("What", "\u00ff").encode("latin-1"), "UTF-8")
    for name, code in (("a letter spelt too long", b"\xc0\x80"), ("an encoded surrogate", b"\xed\xa0\x80")):
        yield body(f"a body of {name}", 400, good.encode().replace(b"What", code), "UTF-8")
    yield body("a body in UTF-16", 400, good.encode("utf-16"), "UTF-8")
    yield body("a byte order mark", 400, b"\xef\xbb\xbf" + good.encode())
    yield body("a body of zeros", 400, bytes(1000))
    yield body("a body of noise", 400, np.random.default_rng(0).bytes(10_000))
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data", "audio/wav", "x", ""):
        yield body(f"a body that is called {kind!r}", 415, good, "application/json", content_type=kind)
    yield body("a body that is packed", 415, gzip.compress(good.encode()), "content-encoding", content_encoding="gzip")


# --- words


def texts() -> Iterator[Bad]:
    for name, text in (
        ("nothing", ""),
        ("blanks", " \n\t "),
        ("a megabyte of one letter", "a" * 1_000_000),
        ("a megabyte of words", "the old man opened the window " * 33_000),
        ("a megabyte of emoji", "\U0001f600" * 250_000),
        ("a megabyte of blanks and a letter", " " * 1_000_000 + "a"),
        ("ten megabytes", "lorem ipsum " * 830_000),
    ):
        yield chat(f"a text of {name}", 400 if name in ("nothing", "blanks") else 413, messages=turn(text))
    yield chat("a text past the context", 422, "context", messages=turn("the old man " * 20_000))
    for token in ("<|audio|>", "<|audio>", "<audio|>", "<|turn>", "<turn|>", "<bos>", "<eos>"):
        yield chat(f"a text with {token}", 422, messages=turn(f"What is {token} said?"))
    yield chat("no messages", 400, messages=[])
    yield chat("more messages than are taken", 422, messages=turn("hi") * 65)
    yield chat("a thousand messages", 422, messages=turn("hi") * 1000)
    yield chat("ten thousand messages", 413, messages=turn("hi") * 10_000)
    for value in (None, 5, "hello", {}, {"role": "user", "content": "hi"}, [None], ["hi"], [[]], [{}]):
        yield chat(f"messages are {shown(value)}", 400, messages=value)
    for content in (None, 5, True, {}, {"type": "text", "text": "a"}, [], [None], ["a"], [[]], [{}], [5]):
        yield chat(f"a content of {shown(content)}", 400, messages=turn(content))
    for role in (None, 5, "", "tool", "function", "User", "root", "user\0", ["user"]):
        yield chat(f"the role {shown(role)}", 400, messages=[{"role": role, "content": "hi"}])
    yield chat("a turn without a role", 400, messages=[{"content": "hi"}])
    yield chat("a turn without a content", 400, messages=[{"role": "user"}])
    yield chat("a turn with tool calls", 400, messages=[{"role": "assistant", "content": "a", "tool_calls": [{}]}])
    yield chat("a name that is none", 400, messages=[{"role": "user", "content": "hi", "name": 5}])
    audible = [heard(encoded("question.wav"))]
    yield chat("an assistant who makes a sound", 422, messages=[{"role": "assistant", "content": audible}])
    yield chat("a system of sound", 422, messages=[{"role": "system", "content": audible}, *turn("hi")])
    for name in ("", "tiny ", "TINY", "../../etc/passwd", "gpt-4o", "t\0", "\u202etiny", "x" * 100_000, "\U0001f600"):
        yield chat(f"the model {name[:20]!r}", 404, "there is no model", model=name)
    for value in (None, 5, [], {}, True):
        yield chat(f"the model {shown(value)}", 400, model=value)
    yield part("a part of no type", 400, {"text": "a"})
    yield part("a part of an unknown type", 400, {"type": "video", "video": "a"})
    yield part("a part whose type is a list", 400, {"type": ["text"], "text": "a"})
    yield part("a text without its text", 400, {"type": "text"})
    yield part("a text that is a number", 400, {"type": "text", "text": 5})
    yield part("a text with something beside it", 400, {"type": "text", "text": "a", "annotations": []})
    for kind in ("image_url", "input_image", "image"):
        yield part(f"a picture as {kind}", 422, {"type": kind, kind: {"url": "data:image/png;base64,AAAA"}}, "images")
    yield part("a file", 400, {"type": "file", "file": {"file_id": "x"}})
    yield part("a refusal", 400, {"type": "refusal", "refusal": "no"})


# --- numbers and options


def fields() -> Iterator[Bad]:
    wrong: dict[str, list[Any]] = {
        "temperature": ["hot", -1, 1e9, [], {}, True, "0.5", -1e-9, 5e-324, 1e-40],
        "top_p": [0, -1, 1.5, "x", [], 5e-324],
        "top_k": [-1, 2**31, 2**63, 1.5, "x"],
        "min_p": [-0.1, 1, 1.5, "x"],
        "repetition_penalty": [0, -1, 101, "x", 5e-324],
        "max_tokens": [0, -1, 1e9, 1.5, "10", 2**31, 2**63, 2**64, 10**29, 10**300, True, [1]],
        "max_completion_tokens": [0, -5, 2**40, "10"],
        "seed": [-1, 2**63, 2**64, 1.5, "x", 10**100],
        "n": [0, -1, 1.5, "2"],
        "stream": ["yes", 1, [], {}],
        "stream_options": [5, [], {"include_usage": "yes"}, {"unknown": True}],
        "stop": [5, [5], [None], {}, [""], "", [f"{n}" for n in range(17)], ["a"] * 10_000, "x" * 100_000],
        "logprobs": [5, "yes", []],
        "top_logprobs": [-1, 21, "x", 5],
        "timeout_s": [0, -1, "x", 1e9],
        "response_format": ["json", 5, [], {}, {"type": "xml"}, {"type": "json_schema"}, {"type": "text", "x": 1}],
        "tools": [[{"type": "function", "function": {"name": "f"}}], "x"],
        "tool_choice": ["required", {"type": "function"}],
        "logit_bias": [{"5": 1}, [], {"x": 1}],
        "frequency_penalty": [0.5, -2, "x"],
        "presence_penalty": [1, "x"],
        "modalities": [["audio"], ["text", "audio"], "text"],
        "store": [True, 1, 0],
        "metadata": [5, {"a": 5}, []],
        "service_tier": ["flex", 5],
        "user": [5, []],
        "functions": [[]],
        "audio": [{"voice": "alloy", "format": "wav"}],
        "": [1],
        "__class__": [1],
        "\u00fcnknown \U0001f600": [1],
        "x" * 10_000: [1],
    }
    for name, values in wrong.items():
        for value in values:
            yield chat(f"{name[:20]} is {shown(value)}", 400, **{name: value})
    yield chat("an empty stop among others", 400, "stop: ", stop=["a", ""])
    yield chat("options that are no object", 400, "stream_options: it must be an object", stream_options=5)
    yield chat("more answers than are given", 422, n=9)
    yield chat("more answers than anybody could give", 422, n=2**63)


# --- what an answer is held to


def constraints() -> Iterator[Bad]:
    for regex in ("(", "[", "a{2,1}", "(?<=a)b", r"(a)\1", r"\b", "*", "", " ", "(a+)+" * 5000, "(?P<x>", "[z-a]",
                  "(" * 5000 + "a" + ")" * 5000, "a{9999999999999}", r"\p{Klingon}", "x" * 1_000_000):  # fmt: skip
        yield chat(f"the regex {regex[:30]}", 400, regex=regex)
    for choices in ([], [""], [" "], ["a", "a"], ["a", " b"], "a", [5], {}, [None], [f"{n}" for n in range(10_001)],
                    ["x" * 1_000_000], ["a", "\0" * 5 + " "]):  # fmt: skip
        yield chat(f"the choices {shown(choices)}", 400, choices=choices)
    yield chat("choices and a regex", 400, choices=["a"], regex="a")
    yield chat("choices of vLLM that are none", 400, structured_outputs={"choice": "a"})
    yield chat("a grammar of vLLM", 400, structured_outputs={"grammar": "root ::= x"})
    nested: dict[str, Any] = {}
    for _ in range(500):
        nested = {"type": "array", "items": nested}
    wide = {"type": "object", "properties": {f"p{n}": {"type": "string"} for n in range(20_000)}}
    form = {"type": "json_schema", "json_schema": {"name": "it", "schema": wide}}
    yield chat("a schema of 20,000 properties", 413, response_format=form)
    for name, schema in {
        "a string": "x",
        "a list": [],
        "an unknown type": {"type": "thing"},
        "a type of a number": {"type": 5},
        "properties that are a list": {"type": "object", "properties": []},
        "a remote reference": {"$ref": "https://example.org/schema.json"},
        "a reference to a file": {"$ref": "file:///etc/passwd"},
        "a reference to nothing": {"$ref": "#/$defs/x"},
        "a pattern that is broken": {"type": "string", "pattern": "("},
        "a pattern that looks around": {"type": "string", "pattern": "(?=a)b"},
        "a length of a million": {"type": "string", "minLength": 1_000_000, "pattern": "^a*$"},
        "nothing that fits": {"enum": []},
        "never": {"type": "integer", "minimum": 5, "maximum": 4},
        "500 levels": nested,
        "an unknown keyword": {"not": {"type": "string"}},
    }.items():
        form = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema}}
        yield chat(f"a schema of {name}", 400, response_format=form)
