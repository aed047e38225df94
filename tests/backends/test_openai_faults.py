"""The `openai` backend when its server fails: attempts, time-outs, cut streams, refusals, garbled
replies; and several requests at once."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest

import auricle.backends.openai.exchange as exchange
from auricle.api.requests import ask_of
from auricle.errors import (
    AuricleError,
    BusyError,
    CancelledError,
    DeadlineError,
    HubError,
    InputError,
    OptionError,
    PromptError,
    SoundError,
)
from auricle.types import Answer, Audio, Message
from tests.openai_server import SOUND, Fail, Peer, Say, failure, model_of, serving


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


# --- attempts


@pytest.mark.parametrize("status", [500, 502, 503, 504, 429])
def test_a_failure_that_passes_is_tried_again(peer: Peer, status: int) -> None:
    peer.script = [Fail(status, {"error": {"message": "not now"}}), Say()]
    assert model_of(peer).ask(SOUND, "What?").text == "A dog barks."
    assert len(peer.asked) == 2
    assert peer.asked[0]["messages"] == peer.asked[1]["messages"]


def test_attempts_end_and_the_last_failure_is_told(peer: Peer) -> None:
    peer.script = [Fail(500, {"error": {"message": "out of\nmemory"}})]
    message = failure(model_of(peer, retries=2))
    assert message == f"{peer.url} failed (500): out of memory (tried 3 times)"
    assert len(peer.asked) == 3


def test_no_retries_means_one_attempt(peer: Peer) -> None:
    peer.script = [Fail(503, b"down", content_type="text/plain"), Say()]
    assert failure(model_of(peer, retries=0)) == f"{peer.url} failed (503): down"
    assert len(peer.asked) == 1


def test_waits_grow(peer: Peer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(exchange, "FIRST_WAIT_S", 0.2)
    peer.script = [Fail(500), Fail(500), Say()]
    model_of(peer).ask(SOUND, "What?")
    first, second = np.diff(peer.at)
    assert 0.15 <= first < 0.3 <= second < 0.6


def test_retry_after_is_honoured(peer: Peer) -> None:
    peer.script = [Fail(429, headers={"Retry-After": "0.6"}), Say()]
    model_of(peer).ask(SOUND, "What?")
    assert 0.6 <= peer.at[1] - peer.at[0] < 1.2


def test_retry_after_is_bounded(peer: Peer) -> None:
    from auricle.backends.openai.failures import _wait

    assert _wait("86400") == 60
    assert _wait("Wed, 21 Oct 2099 07:28:00 GMT") == 60
    assert _wait("Wed, 21 Oct 2015 07:28:00 GMT") == 0
    assert _wait("soon") is _wait(None) is _wait("nan") is None


def test_too_many_requests_for_ever_is_busy(peer: Peer) -> None:
    peer.script = [Fail(429, {"error": {"message": "queue full"}}, {"Retry-After": "0"})]
    message = failure(model_of(peer), BusyError)
    assert "has too many requests (429): queue full" in message
    assert message.endswith("(tried 4 times)")


def test_a_deadline_is_not_spent_on_waiting_for_what_comes_after_it(peer: Peer) -> None:
    peer.script = [Fail(429, {"error": {"message": "queue full"}}, {"Retry-After": "30"})]
    begun = time.perf_counter()
    message = failure(model_of(peer), DeadlineError, timeout_s=2.0)
    assert time.perf_counter() - begun < 1.5
    assert "not done within its 2 s" in message
    assert "queue full" in message


def test_a_connection_that_breaks_before_the_first_text_is_tried_again(peer: Peer) -> None:
    peer.script = [Say((), finish=None, abrupt=True), Say((), finish=None), Say()]
    assert model_of(peer).ask(SOUND, "What?").text == "A dog barks."
    assert len(peer.asked) == 3


@pytest.mark.parametrize("abrupt", [True, False])
def test_a_cut_stream_says_how_much_came_and_is_not_tried_again(peer: Peer, abrupt: bool) -> None:
    peer.script = [Say(("A dog", " ba"), finish=None, abrupt=abrupt), Say()]
    texts: list[str] = []
    with pytest.raises(AuricleError, match="broke off its answer after 8 characters, without a finish_") as caught:
        texts.extend(chunk.text for chunk in model_of(peer).stream(SOUND, "What?"))
    assert type(caught.value) is AuricleError
    assert texts == ["A dog", " ba"]
    assert len(peer.asked) == 1


def test_an_answer_that_had_ended_before_the_connection_broke_is_taken(peer: Peer) -> None:
    ended = b'data: {"choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
    peer.script = [Say(raw=(ended,), finish=None, abrupt=True)]
    answer = model_of(peer).ask(SOUND, "What?")
    assert answer.text == "A dog barks."
    assert "the server does not say whether it heard the audio" in answer.notes


# --- time


@pytest.mark.parametrize("say", [Say(before_s=5), Say(("a", "b", "c", "d", "e", "f", "g"), pause_s=0.3)])
@pytest.mark.parametrize("of", ["server", "request"])
def test_a_request_ends_when_its_time_is_up(peer: Peer, say: Say, of: str) -> None:
    peer.script = [say]
    begun = time.perf_counter()
    if of == "server":
        assert "was not done within 0.5 s: give it more (--timeout)" in failure(
            model_of(peer, timeout=0.5), DeadlineError
        )
    else:
        assert "not done within its 0.5 s: give it more (timeout_s)" in failure(
            model_of(peer), DeadlineError, timeout_s=0.5
        )
    assert time.perf_counter() - begun < 1.2
    assert len(peer.asked) == 1, "what took too long once would again"
    assert peer.left.wait(2), "the server is told"


def test_closing_the_iterator_closes_the_connection(peer: Peer) -> None:
    peer.script = [Say(("a", "b", "c"), pause_s=0.2), Say()]
    chunks = model_of(peer).stream(SOUND, "What?")
    assert next(chunks).text == "a"
    chunks.close()  # type: ignore[attr-defined]
    assert peer.left.wait(2)


# --- what a server refuses, and what it garbles


@pytest.mark.parametrize(
    ("fail", "kind", "expected"),
    [
        (
            Fail(401, {"error": {"message": "bad key"}}),
            InputError,
            "refuses the key (401): bad key; set OPENAI_API_KEY",
        ),
        (Fail(400, {"error": {"message": "no such\n\nthing"}}), InputError, "refuses the request (400): no such thing"),
        (Fail(400, {"error": "plain"}), InputError, "refuses the request (400): plain"),
        (
            Fail(422, {"detail": [{"loc": ["body", "top_k"], "msg": "not allowed", "type": "x"}, {"msg": "no"}]}),
            InputError,
            "refuses the request (422): body.top_k: not allowed; no",
        ),
        (Fail(422, {"detail": "no audio tower"}), InputError, "refuses the request (422): no audio tower"),
        (Fail(413, b"<h1>too large</h1>", content_type="text/html"), InputError, "(413): <h1>too large</h1>"),
        (
            Fail(400, {"error": {"message": "This model's maximum context length is 9 tokens"}}),
            PromptError,
            "maximum context length is 9",
        ),
        (Fail(400, {"error": {"message": "too long", "type": "exceed_context_size_error"}}), PromptError, "too long"),
        (Fail(501, {"error": {"message": "never"}}), AuricleError, "failed (501): never"),
        (
            Fail(307, b"", {"Location": "http://example.com/v1"}),
            OptionError,
            "sends on to http://example.com/v1 (307), which is not followed",
        ),
    ],
)
def test_a_refusal_is_told_in_the_servers_words_and_not_repeated(
    peer: Peer, fail: Fail, kind: type[AuricleError], expected: str
) -> None:
    peer.script = [fail, Say()]
    assert expected in failure(model_of(peer), kind)
    assert len(peer.asked) == 1


def test_long_words_of_a_server_are_shortened(peer: Peer) -> None:
    peer.script = [Fail(400, {"error": {"message": "x" * 5000}})]
    assert len(failure(model_of(peer), InputError)) < 400


def test_a_model_that_is_not_there_names_those_that_are(peer: Peer) -> None:
    peer.script = [Fail(404, {"error": {"message": "no model"}})]
    peer.models = ["ear", "nose"]
    assert failure(model_of(peer, "eye"), HubError) == f"{peer.url} has no model 'eye': it has ear, nose"
    assert "has 'ear' but no chat completions (404)" in failure(model_of(peer), OptionError)
    peer.models = None
    assert "a base URL usually ends in /v1" in failure(model_of(peer, "eye"), OptionError)


def test_a_refused_connection_names_the_address(peer: Peer) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        url = f"http://127.0.0.1:{free.getsockname()[1]}/v1"
    message = failure(model_of(peer, base_url=url, retries=1))
    assert message.startswith(f"{url} can't be reached (")
    assert "Connection refused" in message
    assert message.endswith("--base-url (tried 2 times)")


_DECLINED = b'data: {"choices": [{"delta": {"refusal": "I will not."}}]}\n\n'
_STOPPED = b'data: {"choices": [{"delta": {}, "finish_reason": "stop"}]}\n\n'


@pytest.mark.parametrize(
    ("step", "expected"),
    [
        (Say(raw=(b"data: {no json\n\n",)), "no OpenAI chat stream (Expecting property name"),
        (Say(raw=(b"data: \xff\xfe\n\n",)), "no OpenAI chat stream ('utf-8' codec can't decode"),
        (Say(raw=(b'data: {"object": "x"}\n\n',)), "an event without choices"),
        (Say(raw=(b"data: [1, 2]\n\n",)), "an event without choices"),
        (Say(raw=(b'data: {"choices": [{"delta": {"content": 5}}]}\n\n',)), "content that is a int"),
        (Say(raw=(b'data: {"choices": [{"delta": "hi"}]}\n\n',)), "a choice that is no object, or its delta"),
        (Say(raw=(b'data: {"choices": [null]}\n\n',)), "a choice that is no object, or its delta"),
        (Say(raw=(b"data: " + b"[" * 100_000 + b"\n\n",)), "no OpenAI chat stream (maximum recursion depth"),
        (Say((), raw=(_DECLINED, _STOPPED)), "refuses to answer (I will not.): ask something else"),
        (Say(finish="tool_calls"), "finish_reason 'tool_calls'"),
        (Say(finish="content_filter"), "withholds the answer (content_filter)"),
        (Fail(200, {"choices": []}), "its reply is of type application/json"),
        (Fail(200, b"<html>", content_type="text/html"), "its reply is of type text/html"),
    ],
)
def test_a_garbled_reply_is_told(peer: Peer, step: Say | Fail, expected: str) -> None:
    peer.script = [step]
    assert expected in failure(model_of(peer))
    assert len(peer.asked) == 1


def test_an_error_within_a_stream_is_told(peer: Peer) -> None:
    error = b'data: {"error": {"message": "engine died", "code": 500}}\n\n'
    peer.script = [Say((), raw=(error,)), Say()]
    assert model_of(peer).ask(SOUND, "What?").text == "A dog barks.", "before any text, it is tried again"
    peer.script = [Say(("A dog",), raw=(error,)), Say()]
    assert "broke off its answer after 5 characters, without a finish_reason (engine died)" in failure(model_of(peer))
    peer.script = [Say((), raw=(error.replace(b"500", b"400"),)), Say()]
    assert "refuses the request (400): engine died" in failure(model_of(peer), InputError)


# --- several at once


def _echo(body: dict[str, Any]) -> Say:
    """Answers with the question; the first takes longest."""
    question = next(part["text"] for part in body["messages"][0]["content"] if part["type"] == "text")
    return Say((question,), pause_s=0.3 if question == "0" else 0.05)


def test_many_run_at_once_and_come_in_order(peer: Peer) -> None:
    peer.answer = _echo
    answers = list(model_of(peer, max_running=3).ask_many((SOUND, str(i)) for i in range(9)))
    assert [answer.text for answer in answers if isinstance(answer, Answer)] == [str(i) for i in range(9)]
    assert peer.most == 3


def test_an_error_keeps_its_place_and_the_others_their_answers(peer: Peer) -> None:
    peer.answer = _echo
    broken = Audio(np.zeros(0, np.float32), 16_000, "empty")
    first, second, third = model_of(peer).ask_many([(SOUND, "a"), (broken, "b"), (SOUND, "c")])
    assert isinstance(first, Answer)
    assert isinstance(second, SoundError)
    assert isinstance(third, Answer)
    assert (first.text, third.text) == ("a", "c")


def test_no_more_is_taken_than_is_near_its_turn(peer: Peer) -> None:
    peer.answer = _echo
    taken = 0

    def asks() -> Iterator[tuple[Audio, str]]:
        nonlocal taken
        for i in range(1000):
            taken += 1
            yield SOUND, str(i)

    answers = model_of(peer, max_running=2).ask_many(asks())
    next(answers)
    assert taken <= 5
    answers.close()  # type: ignore[attr-defined]
    assert taken <= 5


def test_many_that_are_given_up_do_not_wait_for_the_server(peer: Peer) -> None:
    peer.answer = lambda body: _echo(body) if _echo(body).texts == ("0",) else Say(before_s=20)
    answers = model_of(peer, max_running=2).ask_many((SOUND, str(i)) for i in range(9))
    assert isinstance(next(answers), Answer)
    begun = time.perf_counter()
    answers.close()  # type: ignore[attr-defined]
    assert time.perf_counter() - begun < 2
    assert peer.left.wait(2)
    assert not [t for t in threading.enumerate() if t.name.startswith("auricle-openai")]


def test_a_request_that_was_given_up_while_it_waits_says_so(peer: Peer) -> None:
    from auricle.backends.openai.line import Line

    peer.script = [Fail(429, headers={"Retry-After": "30"})]
    model = model_of(peer)
    line = Line()
    threading.Timer(0.3, line.give_up).start()
    ask = ask_of(model.backend, [Message("user", ("What?",))], {})
    with pytest.raises(CancelledError):
        list(exchange.Exchange(model.backend.server, ask, line).chunks())  # type: ignore[attr-defined]
