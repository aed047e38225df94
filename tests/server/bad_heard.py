"""Bad requests about sounds: in JSON, by address, as uploads, for vectors and labels."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from typing import Any

import httpx2
import numpy as np

from tests.server import bad_sounds
from tests.server.bad import (
    CLASSIFY,
    EMBED,
    TRANSLATE,
    WRITE,
    Bad,
    body,
    chat,
    heard,
    in_base64,
    part,
    shown,
    sounding,
    turn,
    upload,
)
from tests.server.conftest import EXAMPLES, encoded
from tests.sound.making import written

# --- sounds in JSON


def sound(name: str, status: int, data: Any, says: str = "") -> Bad:
    return part(name, status, heard(data), says)


def sounds() -> Iterator[Bad]:
    good = encoded("question.wav")
    for name, data in (
        ("nothing", ""),
        ("one letter", "A"),
        ("words", "this is no base64"),
        ("a path", "/etc/passwd"),
        ("a relative path", "../../sentence.wav"),
        ("an address", "http://127.0.0.1/a.wav"),
        ("a data URL", f"data:audio/wav;base64,{good}"),
        ("no padding", good.rstrip("=") + "A"),
        ("too much padding", good + "===="),
        ("padding in the middle", good[:100] + "=" + good[101:]),
        ("the letters of URLs", base64.urlsafe_b64encode(b"\xfb\xff\xfe" * 100).decode()),
        ("line breaks", "\n".join(good[n : n + 76] for n in range(0, len(good), 76))),
        ("blanks", good[:100] + " " + good[100:]),
        ("NULs", good[:100] + "\0" + good[101:]),
        ("letters of another script", "\u0430" * 400),
        ("full-width letters", "\uff21" * 400),
        ("emoji", "\U0001f600" * 100),
        ("a megabyte of no base64", "!" * 1_000_000),
    ):
        yield sound(f"base64 of {name}", 400, data)
    broken = "\r\n".join(good[n : n + 76] for n in range(0, len(good), 76))
    yield sound("base64 in lines, as mail has it", 400, broken, "'\\r' at character 76")
    yield sound("base64 in an address", 400, f"data:;base64,{good[:80]}", "it is a data URL")
    for value in (None, 5, True, [], {}, [good]):
        yield sound(f"a sound of {shown(value)}", 400, value)
    for value in (None, 5, "x", [], {}, {"format": "wav"}, {"data": good, "format": 5}, {"data": good, "x": 1},
                  {"data": good, "format": "w" * 33}, {"data": good, "path": "/etc/passwd"}):  # fmt: skip
        yield part(f"input_audio is {shown(value)}", 400, {"type": "input_audio", "input_audio": value})
    yield part("input_audio is missing", 400, {"type": "input_audio"})
    for name, file in (*bad_sounds.no_sounds(), *bad_sounds.damaged()):
        yield sound(name, 415, in_base64(file))
    for name, file in bad_sounds.endless():
        yield sound(f"hours of silence: {name}", 413, in_base64(file))
    yield chat("seventeen sounds", 422, "17 sounds", messages=turn([heard("AAAA")] * 17))
    yield chat("a thousand sounds", 422, "1000 sounds", messages=turn([heard("AAAA")] * 1000))
    half_hours = [heard(in_base64(written(np.zeros(8000 * 1500, np.int16), 8000, "FLAC", "PCM_16")))] * 16
    yield chat("sixteen sounds of 25 minutes", 413, messages=turn(half_hours))


def urls() -> Iterator[Bad]:
    good = encoded("question.wav")
    for url in (
        "http://127.0.0.1/a.wav", "http://localhost/a.wav", "http://2130706433/", "http://0x7f000001/", "http://127.1/",
        "http://017700000001/", "http://[::1]/", "http://[::ffff:127.0.0.1]/", "http://[::]/", "http://0/",
        "http://0.0.0.0/", "http://169.254.169.254/latest/meta-data/", "http://metadata.google.internal/",
        "http://10.0.0.1/", "https://example.org/a.wav", "https://example.org@127.0.0.1/",
        "https://user:secret@example.org/", "http://\u24db\u24de\u24d2\u24d0\u24db\u24d7\u24de\u24e2\u24e3/",
        "http://127.0.0.1:99999/", "http://127.0.0.1:x/", "http://[::1/", "http://", "http:///etc/passwd",
        "//127.0.0.1/", "file:///etc/passwd", "FILE:///etc/passwd", "/etc/passwd", "ftp://127.0.0.1/a",
        "gopher://127.0.0.1/", "unix:/x", "concat:/etc/passwd", "pipe:0", "jar:http://127.0.0.1!/", "javascript:x()",
        "http:\\\\127.0.0.1\\", "", " ", "\0", "http://example.org/\r\nHost: x", "http://ex ample.org/", "x" * 100_000,
        "http://" + "a" * 100_000 + "/", "http://\ud7ff/",
    ):  # fmt: skip
        yield part(f"the address {url[:40]!r}", 400, {"type": "audio_url", "audio_url": {"url": url}})
    for url, status in (
        ("data:", 400), ("data:,", 400), ("data:audio/wav,abc", 400), ("data:audio/wav;base64", 400),
        ("data:audio/wav;base64,", 400), ("data:audio/wav;base64,!!", 400), (f"data:audio/wav;base64,{good}=", 400),
        ("data:text/html;base64,PGI+aGk8L2I+", 415), ("DATA:;base64,AAAA", 415),
    ):  # fmt: skip
        yield part(f"the data URL {url[:30]}", status, {"type": "audio_url", "audio_url": {"url": url}})
    for value in (None, 5, "http://x/", [], {}, {"url": 5}, {"url": None}, {"url": "data:", "x": 1}):
        yield part(f"audio_url is {shown(value)}", 400, {"type": "audio_url", "audio_url": value})


# --- uploads


def uploads() -> Iterator[Bad]:
    good = (EXAMPLES / "question.wav").read_bytes()
    for name, file in bad_sounds.no_sounds():
        yield upload(f"upload: {name}", 415, file)
    for name, file in bad_sounds.endless():
        yield upload(f"upload of hours: {name}", 413, file)
    yield upload("upload: an empty file", 400, b"", "empty")
    for name, values in {
        "model": ["", "x", "tiny\0", "../tiny"],
        "language": ["xx", "Klingon", "e" * 65, "\0", "en\nen", "\U0001f600"],
        "prompt": ["as before", "x" * 100_000],
        "response_format": ["xml", "JSON"],
        "temperature": ["hot", "1e-300", "-1", "nan", "inf", "1e400", "9" * 5000],
        "stream": ["perhaps"],
        "timestamp_granularities[]": ["word", "letter"],
        "include[]": ["logprobs"],
        "chunking_strategy": ["x"],
        "nothing_known": ["1"],
        "\u00fc": ["1"],
    }.items():
        for value in values:
            undoable = name in ("prompt", "include[]") or value == "word"
            status = 404 if name == "model" and value else 422 if undoable else 400
            yield upload(f"upload: {name} is {shown(value)}", status, good, **{name: value})
    yield upload("upload: a stream of subtitles", 400, good, stream="true", response_format="srt")
    yield upload("upload: a translation that streams", 400, good, url=TRANSLATE, stream="true")
    yield upload("upload: a translation of no language", 400, good, url=TRANSLATE, language="xx")
    two = [("file", ("a.wav", good)), ("file", ("b.wav", good))]
    model = {"model": "tiny"}
    yield Bad("upload: two files", 400, WRITE, options={"files": two, "data": model}, says="2")
    other = [("file", ("a.wav", good)), ("other", ("b.wav", good))]
    yield Bad("upload: another file", 400, WRITE, options={"files": other, "data": model}, says="other")
    yield Bad("upload: two models", 400, WRITE, options={"files": two[:1], "data": {"model": ["tiny", "tiny"]}})
    yield Bad("upload: no file", 400, WRITE, options={"files": {"x": ("", b"")}, "data": model})
    yield Bad(
        "upload: a file that is a field",
        400,
        WRITE,
        options={"files": {"file": (None, b"abc")}, "data": model},
        says="-F file=@PATH",
    )
    named = [*two[:1], ("model", ("m", b"tiny"))]
    yield Bad("upload: a field that is a file", 400, WRITE, options={"files": named})
    yield Bad("upload: no model", 400, WRITE, options={"files": two[:1]})
    many = [("x", (None, b"1"))] * 10_000
    # Built here and sent as one piece: field by field the client alone would take a second.
    built = httpx2.Request("POST", "http://here/", files=[*two[:1], *many], data=model)
    whole = {"content": built.read(), "headers": {"content-type": built.headers["content-type"]}}
    yield Bad("upload: 10,000 fields", 400, WRITE, options=whole)
    many_files = [("file", ("a", b"1"))] * 2000
    yield Bad("upload: 2,000 files", 400, WRITE, options={"files": many_files, "data": model})
    yield upload("upload: two megabytes in a field", 400, good, prompt="x" * 2_000_000)
    yield from broken_forms()
    yield body("upload: JSON", 415, '{"model": "tiny"}', "multipart/form-data", url=WRITE)
    yield body("upload: the file alone", 415, good, "multipart/form-data", url=WRITE, content_type="audio/wav")
    plain = "application/x-www-form-urlencoded"
    yield body("upload: a form without files", 415, "model=tiny&file=abc", url=WRITE, content_type=plain)


def broken_forms() -> Iterator[Bad]:
    form = "multipart/form-data"
    field = b"--x\r\nContent-Disposition: form-data; name=file\r\n\r\n1\r\n--x--\r\n"
    for name, kind, content in (
        ("no boundary", form, b"--x\r\n\r\n"),
        ("an empty boundary", f"{form}; boundary=", b"--\r\n\r\n"),
        ("another boundary", f"{form}; boundary=y", field),
        ("a part that never ends", f"{form}; boundary=x", field[:-9]),
        ("a part without a name", f"{form}; boundary=x", b"--x\r\nContent-Type: audio/wav\r\n\r\n1\r\n--x--\r\n"),
        ("a part with a long header", f"{form}; boundary=x", b"--x\r\n" + b"a" * 100_000 + b": b" + field[5:]),
        ("a boundary of 1,000 letters", f"{form}; boundary={'b' * 1000}", b"--x--"),
        ("no content", f"{form}; boundary=x", b""),
        ("an end alone", f"{form}; boundary=x", b"--x--\r\n"),
        ("noise in a form", f"{form}; boundary=x", np.random.default_rng(0).bytes(5000)),
        ("an unknown charset", f"{form}; boundary=x; charset=klingon", field),
    ):
        yield body(f"upload: {name}", 400, content, url=WRITE, content_type=kind)


# --- vectors and labels


def vectors() -> Iterator[Bad]:
    good = encoded("question.wav")
    for route in (EMBED, CLASSIFY):
        for value in (
            None, 5, True, [], {}, "", [None], [5], [[good]], {"data": 5}, {"data": good, "x": 1}, "!", [good, "!"],
        ):  # fmt: skip
            yield sounding(route, f"input is {shown(value)}", 400, input=value)
        yield sounding(route, "text as sound", 415, input=in_base64(b"hello"))
        yield sounding(route, "hours", 413, input=in_base64(bad_sounds.long_flac()))
        yield sounding(route, "17 sounds", 422, "17 sounds", input=["AAAA"] * 17)
        yield sounding(route, "a million sounds", 413, input=["AAAA"] * 1_000_000)
        yield sounding(route, "another model", 404, model="x")
        yield sounding(route, "an unknown field", 400, dimensions=5)
        yield sounding(route, "an order of no kind", 400, order="sideways")
    for name, values in {
        "encoding_format": ["hex", 5],
        "stage": ["cellar", 5, None],
        "layers": ["x", "", "1-", 99, -99, [], [99], ["0"], 1.5, "0,99", list(range(10_000)), 10**300, "0," * 100_000],
        "pooling": ["min", "", "window=0", "window=-1", "window=x", "window=nan", "window=inf", "window=", 5],
        "overlap": [-1, 1e9, "x", None],
        "prompt": [5, ["x"]],
    }.items():
        for value in values:
            yield sounding(EMBED, f"{name} is {shown(value)}", 400, **{name: value})
    for labels in ("x", [], [5], [""], ["a", "a"], {}):
        yield sounding(CLASSIFY, f"labels are {shown(labels)}", 400, labels=labels)
    yield sounding(CLASSIFY, "no labels, and the model has none", 422, labels=None)
    yield sounding(CLASSIFY, "two hundred labels and one", 400, labels=[f"label {n}" for n in range(201)])
    yield sounding(CLASSIFY, "a question of no text", 400, question=5)
    yield sounding(CLASSIFY, "a question of a megabyte", 400, question="what is it " * 90_000)
