"""The `openai` backend against a real server on this machine: what is sent, and what comes back."""

from __future__ import annotations

import base64
import io
import json
import re
import subprocess
import sys
import time
import wave
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import auricle.backends.openai.exchange as exchange
import auricle.backends.openai.server as server_module
from auricle.api import Chat, load
from auricle.errors import (
    InputError,
    OptionError,
    UnsupportedError,
)
from auricle.types import Audio, CacheUse, Message, Remote, Segment
from tests.openai_server import HEARD, SOUND, Fail, Peer, Say, failure, model_of, serving
from tests.parity.sounds import babble


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """No long waits, and nothing of the environment."""
    monkeypatch.setattr(exchange, "FIRST_WAIT_S", 0.02)
    for name in ("OPENAI_API_KEY", "OPENAI_BASE_URL", "http_proxy", "HTTP_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def peer() -> Iterator[Peer]:
    with serving(Peer()) as peer:
        yield peer


def samples_of(part: dict[str, Any]) -> tuple[np.ndarray, int]:
    assert part["type"] == "input_audio"
    assert part["input_audio"]["format"] == "wav"
    with wave.open(io.BytesIO(base64.b64decode(part["input_audio"]["data"], validate=True))) as read:
        assert (read.getnchannels(), read.getsampwidth()) == (1, 2)
        return np.frombuffer(read.readframes(read.getnframes()), "<i2") / 32768, read.getframerate()


# --- what is sent


def test_sounds_are_sent_as_wav_in_the_order_given(peer: Peer) -> None:
    other = Audio(babble(8000, seed=1), 16_000, "other")
    model_of(peer).ask([SOUND, other], "Which is louder?", order="audio-first")
    (asked,) = peer.asked
    assert asked["path"] == "/v1/chat/completions"
    (message,) = asked["messages"]
    assert message["role"] == "user"
    assert [part["type"] for part in message["content"]] == ["input_audio", "input_audio", "text"]
    for part, sound in zip(message["content"], (SOUND, other), strict=False):
        samples, rate = samples_of(part)
        assert rate == 16_000
        np.testing.assert_allclose(samples, sound.samples, atol=1 / 32768)
    assert message["content"][2] == {"type": "text", "text": "Which is louder?"}


def test_another_rate_is_resampled_and_overshoot_is_clipped_with_a_note(peer: Peer) -> None:
    loud = Audio((np.sin(np.arange(48_000) * 0.1) * 1.5).astype(np.float32), 48_000, "loud")
    answer = model_of(peer).ask(loud, "What?")
    samples, rate = samples_of(peer.asked[0]["messages"][0]["content"][1])
    assert rate == 16_000
    assert len(samples) == 16_000
    assert samples.max() == 32767 / 32768
    assert answer.notes == ("loud goes beyond full scale, and was clipped there to be sent in 16 bits",)


def test_plain_sampling_is_sent_in_the_standard_words_alone(peer: Peer) -> None:
    model_of(peer).ask(SOUND, "What?", max_tokens=7)
    sent = {name: value for name, value in peer.asked[0].items() if name not in ("messages", "path")}
    assert sent == {
        "model": "ear",
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": 7,
        "temperature": 0.0,
        "top_p": 1.0,
        "seed": 0,
    }
    assert peer.headers[0]["authorization"] == "Bearer none"


def test_other_sampling_is_sent_when_it_is_asked_for(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_API_KEY", "sesame")
    options: dict[str, Any] = {"temperature": 0.5, "top_p": 0.9, "seed": 3, "stop": ("x", "y")}
    extra: dict[str, Any] = {"top_k": 5, "min_p": 0.1, "repetition_penalty": 1.1}
    model_of(peer, "org/name:8b@x").ask(SOUND, "What?", **options, **extra)
    asked = peer.asked[0]
    assert asked["model"] == "org/name:8b@x"
    assert {name: asked[name] for name in (*options, *extra)} == {**options, "stop": ["x", "y"], **extra}
    assert peer.headers[0]["authorization"] == "Bearer sesame"


def test_a_chat_sends_its_turns(peer: Peer) -> None:
    chat = Chat(model_of(peer), SOUND)
    for question in ("What is it?", "Is it loud?"):
        list(chat.say(question))
    first, answered, second = peer.asked[1]["messages"]
    assert [part["type"] for part in first["content"]] == ["text", "input_audio"]
    assert answered == {"role": "assistant", "content": "A dog barks."}
    assert second == {"role": "user", "content": "Is it loud?"}


def test_a_system_message_and_text_alone_are_sent_as_strings(peer: Peer) -> None:
    messages = [Message("system", ("Be brief.",)), Message("user", ("Hello?",))]
    answer = [chunk.answer for chunk in model_of(peer).chat(messages)][-1]
    assert peer.asked[0]["messages"] == [
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "Hello?"},
    ]
    assert answer is not None
    assert answer.segments == ()


def test_the_address_may_come_from_the_environment(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OPENAI_BASE_URL", peer.url + "/")
    assert load("openai:ear").ask(SOUND, "What?").text == "A dog barks."


# --- what comes back


def test_a_stream_gives_text_as_it_comes_and_then_the_answer(peer: Peer) -> None:
    peer.script = [Say(("\n A dog", " barks", ". "), pause_s=0.1)]
    begun = time.perf_counter()
    chunks, times = [], []
    for chunk in model_of(peer).stream(SOUND, "What?"):
        chunks.append(chunk)
        times.append(time.perf_counter() - begun)
    assert [chunk.text for chunk in chunks] == ["A dog", " barks", ". ", ""]
    assert times[0] + 0.15 < times[2], "the first text came before the last was sent"
    answer = chunks[-1].answer
    assert answer is not None
    assert answer.text == "A dog barks."
    assert (answer.finish_reason, answer.prompt_tokens, answer.tokens) == ("stop", 40, ())
    assert answer.segments == (Segment("babble", 0.0, 1.0, 25),)
    assert answer.notes == ()
    assert 0 < answer.timings.ttft_s < answer.timings.total_s
    assert answer.timings.decode_tokens_per_s > 0


def test_of_several_clips_the_tokens_of_each_are_not_known(peer: Peer) -> None:
    answer = model_of(peer).ask([SOUND, SOUND], "What?")
    assert [segment.tokens for segment in answer.segments] == [0, 0]
    assert answer.notes == ()


def test_vllm_counts_audio_tokens_by_kind(peer: Peer) -> None:
    details = {"cached_tokens": 0, "multimodal_tokens": {"audio": 31}}
    peer.script = [Say(usage={**HEARD, "prompt_tokens_details": details})]
    assert model_of(peer).ask(SOUND, "What?").segments[0].tokens == 31


@pytest.mark.parametrize("details", [None, {"cached_tokens": 3}])
def test_a_server_that_counts_no_audio_is_noted(peer: Peer, details: dict[str, int] | None) -> None:
    peer.script = [Say(usage={**HEARD, "prompt_tokens_details": details})]
    answer = model_of(peer).ask(SOUND, "What?")
    assert answer.notes == ("the server does not say whether it heard the audio",)
    assert answer.segments[0].tokens == 0


def test_a_server_without_usage_is_noted(peer: Peer) -> None:
    peer.script = [Say(usage=None)]
    answer = model_of(peer).ask(SOUND, "What?")
    assert answer.prompt_tokens == 0
    assert "the server does not say how many tokens the prompt has" in answer.notes


@pytest.mark.parametrize("details", [{"audio_tokens": 0}, {"multimodal_tokens": {"image": 4}}])
def test_audio_that_was_dropped_is_an_error(peer: Peer, details: dict[str, Any]) -> None:
    peer.script = [Say(usage={**HEARD, "prompt_tokens_details": details})]
    assert "dropped the audio: it says that the prompt has 0 audio tokens" in failure(model_of(peer))


def test_no_audio_tokens_are_right_where_no_audio_was_sent(peer: Peer) -> None:
    peer.script = [Say(usage={**HEARD, "prompt_tokens_details": {"audio_tokens": 0}})]
    (*_, last) = model_of(peer).chat([Message("user", ("Hello?",))])
    assert last.answer is not None


def test_a_cut_answer_is_noted_as_a_native_one_is(peer: Peer) -> None:
    peer.script = [Say(finish="length")]
    assert model_of(peer).ask(SOUND, "What?", max_tokens=3).notes == ("the answer was cut after 3 tokens (max_tokens)",)
    (note,) = model_of(peer).ask(SOUND, "What?", max_tokens=9).notes
    assert note == "the answer was cut after 3 tokens (the model's context is full)"


def test_a_long_sound_is_transcribed_piece_by_piece(peer: Peer) -> None:
    long = Audio(np.tile(babble(16_000 * 5), 8), 16_000, "long")
    peer.script = [Say(("So it", " is.")), Say(("And so on.",))]
    transcript = model_of(peer, max_running=1).transcribe(long)
    assert transcript.text == "So it is. And so on."
    assert len(transcript.segments) == len(peer.asked) == 2
    assert peer.asked[0]["max_tokens"] == 440
    sent = sum(len(samples_of(asked["messages"][0]["content"][1])[0]) for asked in peer.asked)
    assert sent == len(long.samples)


# --- constraints


@pytest.mark.parametrize(
    ("options", "name", "expected", "text"),
    [
        ({"choices": ("yes", "no")}, "structured_outputs", {"choice": ["yes", "no"]}, "no"),
        ({"regex": "[0-9]+"}, "structured_outputs", {"regex": "[0-9]+"}, "12"),
        (
            {"json_schema": {"type": "integer"}},
            "response_format",
            {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"type": "integer"}, "strict": True}},
            "7",
        ),
        (
            {"json_schema": "true"},
            "response_format",
            {"type": "json_schema", "json_schema": {"name": "answer", "schema": {}, "strict": True}},
            "[]",
        ),
    ],
)
def test_a_constraint_is_sent_and_checked(
    peer: Peer, options: dict[str, Any], name: str, expected: dict[str, Any], text: str
) -> None:
    peer.script = [Say((text,)), Say(("Well, maybe so.",))]
    model = model_of(peer)
    assert model.ask(SOUND, "What?", **options).text == text
    assert peer.asked[0][name] == expected
    if options != {"json_schema": "true"}:
        assert "ignored the constraint: the answer 'Well, maybe so.'" in failure(model, **options)


def test_json_of_another_schema_is_no_answer(peer: Peer) -> None:
    peer.script = [Say(('{"a": "b"}',))]
    schema = {"type": "object", "properties": {"a": {"type": "integer"}}}
    assert "does not fit the JSON schema ('b' is not of type 'integer')" in failure(model_of(peer), json_schema=schema)


def test_a_constraint_that_was_cut_short_is_noted(peer: Peer) -> None:
    peer.script = [Say(("12",), finish="length"), Say(("12",), extra={"stop_reason": "3"})]
    model = model_of(peer)
    (note,) = model.ask(SOUND, "What?", regex="[0-9]{4}", max_tokens=3).notes
    assert note == "the answer was cut after 3 tokens (max_tokens); it does not fulfil the constraint"
    (note,) = model.ask(SOUND, "What?", regex="[0-9]{4}", stop=("3",)).notes
    assert note == "the answer was ended by a stop string and does not fulfil the constraint"


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        ({"regex": r"\p{L}+"}, "can't be checked by Python's re"),
        ({"json_schema": {"type": "sound"}}, "is no JSON schema"),
    ],
)
def test_a_constraint_that_cannot_be_checked_is_refused_before_anything_is_sent(
    peer: Peer, options: dict[str, Any], expected: str
) -> None:
    assert expected in failure(model_of(peer), OptionError, **options)
    assert peer.asked == []


# --- what it can't do, and what it needs


@pytest.mark.parametrize(
    ("call", "expected"),
    [
        (lambda m: m.classify(SOUND, ["a", "b"]), "can't classify: ask it with choices"),
        (lambda m: m.score(SOUND, ["a", "b"], "What?"), "can't score answers"),
        (lambda m: m.listen("What?"), "can't listen live: a native model"),
        (lambda m: m.embed(SOUND), "can't be looked into: a native model"),
        (lambda m: m.read(SOUND), "can't be looked into"),
        (lambda m: m.hidden_states(SOUND), "can't be looked into"),
        (lambda m: m.ask(SOUND, "What?", zero_audio=True), "zero_audio looks into the model"),
        (lambda m: m.ask(SOUND, "What?", trace=True), "trace looks into the model"),
    ],
)
def test_an_unsupported_call_says_what_can(peer: Peer, call: Any, expected: str) -> None:
    with pytest.raises(UnsupportedError, match=re.escape("openai:ear")) as caught:
        call(model_of(peer))
    assert expected in str(caught.value)
    assert peer.asked == []


def test_what_is_not_known_of_a_server_is_not_claimed(peer: Peer) -> None:
    model = model_of(peer)
    assert model.stages == {}
    assert model.cache == CacheUse(0, 0, 0, 0, 0, 0, 0, 0, 0)
    record = model.provenance()
    assert record["model"] == "openai:ear"
    assert str(record["backend"]).startswith("openai ")
    assert record["revision"] is record["device"] is record["dtype"] is None


def test_without_an_address_nothing_is_sent_anywhere() -> None:
    with pytest.raises(OptionError, match="needs the address of its server: give --base-url"):
        load("openai:ear")


@pytest.mark.parametrize(
    "url", ["", "localhost:8000", "ftp://host/v1", "http://", "http://host:x/v1", "http://u:p@host/v1", "http://h/?a=b"]
)
def test_an_address_that_is_none_is_refused(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(OptionError, match="base_url"):
        Remote(url)
    if url:
        monkeypatch.setenv("OPENAI_BASE_URL", url)
        with pytest.raises(OptionError, match="base_url"):
            load("openai:ear")


@pytest.mark.parametrize("settings", [{"timeout": 0}, {"timeout": float("nan")}, {"retries": -1}, {"retries": 1.5}])
def test_settings_outside_their_range_are_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(OptionError, match=f"{min(settings)} is"):
        Remote(**settings)


def test_an_environment_that_allows_no_connection_is_told(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", "/nowhere.pem")
    with pytest.raises(InputError, match=r"no HTTP connection can be set up \(.*No such file.*\): check HTTP_PROXY"):
        load("openai:ear", remote=Remote(peer.url))


def test_options_of_other_backends_are_refused(peer: Peer) -> None:
    with pytest.raises(OptionError, match="base_url names a server, and 'tiny' runs here"):
        load("tiny", remote=Remote(peer.url))
    with pytest.raises(OptionError, match="device is 'cpu', and openai:ear runs where its server runs"):
        load("openai:ear", device="cpu", remote=Remote(peer.url))
    with pytest.raises(UnsupportedError, match="encoder_only"):
        load("openai:ear", encoder_only=True, remote=Remote(peer.url))


@pytest.mark.parametrize("missing", ["openai", "jsonschema"])
def test_a_missing_library_says_how_it_is_installed(peer: Peer, monkeypatch: pytest.MonkeyPatch, missing: str) -> None:
    find = server_module.importlib.util.find_spec
    monkeypatch.setattr("importlib.util.find_spec", lambda name, *a: None if name == missing else find(name, *a))
    with pytest.raises(InputError, match=re.escape('not installed: pip install "auricle[openai]"')):
        model_of(peer).ask(SOUND, "What?", json_schema={"type": "integer"})


def test_the_command_line_asks_a_server_without_torch(peer: Peer, tmp_path: Any) -> None:
    from auricle.sound.write import write_wav

    write_wav(tmp_path / "clip.wav", SOUND)
    peer.script = [Fail(500), Say(usage=None)]
    code = (
        "import sys; from auricle.cli.main import main\n"
        "try: main()\n"
        "finally: print('torch' in sys.modules, file=sys.stderr)"
    )
    words = ["ask", str(tmp_path / "clip.wav"), "What?", "--model", "openai:ear", "--base-url", peer.url, "--json"]
    done = subprocess.run([sys.executable, "-c", code, *words], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout)["answer"] == "A dog barks."
    assert done.stderr.strip().endswith("False")
    assert len(peer.asked) == 2
