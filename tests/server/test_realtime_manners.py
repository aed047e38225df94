"""/v1/realtime, misused and at its limits; who is let in, who leaves, and how it stops."""

from __future__ import annotations

import base64
import json
import signal
import time
import weakref
from collections.abc import Callable, Iterator
from pathlib import Path
from socket import SHUT_RDWR
from typing import Any

import numpy as np
import pytest
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from auricle.engine.live import Session
from auricle.server.settings import Settings
from tests.checkpoints import make_checkpoint
from tests.qwen2_audio import make_qwen2_audio
from tests.server.conftest import running, wait_until
from tests.server.realtime import (
    PATIENCE_S,
    QUESTION,
    append,
    by_hand,
    one,
    pcm,
    raw,
    receive,
    silence,
    talking,
    until,
)

DONE = "response.done"
ENDLESS = np.concatenate([pcm("sentence.wav"), silence(0.5)] * 6)
BY_HAND = {"type": "session.update", "session": {"instructions": QUESTION, "turn_detection": None}}
ODD = base64.b64encode(bytes(3)).decode()
LONG = base64.b64encode(bytes(2 * 24_000 * 31)).decode()


def update(**session: Any) -> str:
    return json.dumps({"type": "session.update", "event_id": "mine", "session": session})


def listening(**sound: Any) -> str:
    return update(audio={"input": sound})


def event(kind: str, **values: Any) -> str:
    return json.dumps({"type": kind, "event_id": "mine", **values})


BAD = {  # what is sent, a part of what is said of it, and the field that is named
    "no JSON": ("{", "no JSON", None),
    "JSON too deep": ("[" * 100_000, "more than 128 deep", None),
    "a number of no end": ('{"type": 1e400}', "too large", None),
    "a sound twice": ('{"type": "input_audio_buffer.append", "audio": "AAAA", "audio": ""}', "'audio' twice", "audio"),
    "a list": ("[]", "JSON object", "type"),
    "no type": ("{}", "JSON object", "type"),
    "a number as type": ('{"type": 3}', "JSON object", "type"),
    "a list as event_id": ('{"type": "input_audio_buffer.clear", "event_id": []}', "event_id", "event_id"),
    "an unknown type": (event("conversation.item.create"), "must be one of session.update", "type"),
    "half a character as type": ('{"type": "\\ud800"}', "the message has half a surrogate pair", None),
    "an unknown field": (event("input_audio_buffer.append", audio="", sound=""), "no such field", "sound"),
    "no audio": (event("input_audio_buffer.append"), "must be a string", "audio"),
    "a list as audio": (event("input_audio_buffer.append", audio=[1]), "must be a string", "audio"),
    "no base64": (event("input_audio_buffer.append", audio="AA?A"), "no base64 (it has '?' at character 2)", "audio"),
    "no ASCII": (event("input_audio_buffer.append", audio="ü"), "no base64", "audio"),
    "half a sample": (event("input_audio_buffer.append", audio=ODD), "3 bytes", "audio"),
    "too much at once": (event("input_audio_buffer.append", audio=LONG), "31.0 s and the limit is 30 s", "audio"),
    "a commit of nothing": (event("input_audio_buffer.commit"), "at least 100 ms", None),
    "an answer about nothing": (event("response.create"), "no turn", None),
    "an answer otherwise": (
        event("response.create", response={"instructions": "Count."}),
        "session.update",
        "response",
    ),
    "a cancel of nothing": (event("response.cancel"), "no such answer", None),
    "no session": (event("session.update"), "session", "session"),
    "words as session": (event("session.update", session="hi"), "session: it must be an object", "session"),
    "a temperature of nearly nothing": (update(temperature=1e-40), "too small", "session.temperature"),
    "an unknown type of session": (update(type="translation"), "'realtime' or 'transcription'", "session.type"),
    "an unknown field of it": (update(voice="alloy"), "no such field", "session.voice"),
    "sound as the answer": (update(output_modalities=["audio"]), "'text'", "session.output_modalities.0"),
    "another model": (update(model="gpt-realtime"), "has 'tiny'", "session.model"),
    "tools": (update(tools=[{"type": "function"}]), "at most 0", "session.tools"),
    "empty instructions": (update(instructions=" "), "say what to do", "session.instructions"),
    "instructions of half a character": (
        '{"type": "session.update", "session": {"instructions": "\\ud800"}}',
        "half a surrogate pair",
        None,
    ),
    "long instructions": (update(instructions="a" * 10_001), "at most 10000", "session.instructions"),
    "many tokens": (update(max_output_tokens=100_000), "at most 4096", "session.max_output_tokens"),
    "no tokens": (update(max_output_tokens=0), "from 1 on", "session.max_output_tokens"),
    "tokens as a truth": (update(max_output_tokens=True), "from 1 on", "session.max_output_tokens"),
    "another rate": (listening(format={"type": "audio/pcm", "rate": 8000}), "16000 or 24000", "format.rate"),
    "another codec": (listening(format={"type": "audio/pcmu"}), "'audio/pcm'", "format.type"),
    "another detection": (listening(turn_detection={"type": "semantic_vad"}), "'server_vad'", "turn_detection.type"),
    "another threshold": (
        listening(turn_detection={"type": "server_vad", "threshold": 0.9}),
        "0.5",
        "turn_detection.threshold",
    ),
    "another language": (listening(transcription={"language": "xx"}), "ISO 639-1", "language"),
    "another model to transcribe": (listening(transcription={"model": "whisper-1"}), "has 'tiny'", "model"),
    "a hint to transcribe": (listening(transcription={"prompt": "Names"}), "at most 0", "transcription.prompt"),
}


@pytest.fixture(scope="module")
def socket(server: str) -> Iterator[ClientConnection]:
    """One connection that has to bear it all."""
    with raw(server) as opened:
        assert receive(opened)["type"] == "session.created"
        yield opened


class TestBadEvents:
    @pytest.mark.parametrize("name", BAD)
    def test_is_told_and_the_connection_goes_on(self, socket: ClientConnection, name: str) -> None:
        sent, said, param = BAD[name]
        socket.send(sent)
        answer = receive(socket)
        assert answer["type"] == "error", answer
        error = answer["error"]
        assert said in error["message"], error
        assert "\n" not in error["message"]
        assert (error["param"] or "").endswith(param or ""), error
        assert error["type"] == "invalid_request_error"
        assert error["event_id"] == ("mine" if '"mine"' in sent else None)
        assert set(error) == {"message", "type", "param", "code", "event_id"}
        socket.send(event("input_audio_buffer.clear"))
        assert receive(socket)["type"] == "input_audio_buffer.cleared"

    def test_binary(self, socket: ClientConnection) -> None:
        socket.send(bytes(3200))
        assert "binary message" in receive(socket)["error"]["message"]

    def test_a_change_within_a_turn(self, server: str) -> None:
        with talking(server, instructions=QUESTION, turn_detection=None) as connection:
            append(connection, pcm("sentence.wav"))
            connection.send({"type": "session.update", "session": {"instructions": "Count."}})  # type: ignore[typeddict-item]
            assert "commit or clear" in until(connection, "error")[-1].error.message

    def test_a_second_answer(self, server: str) -> None:
        with talking(server, instructions=QUESTION, audio=by_hand()) as connection:
            append(connection, ENDLESS)
            connection.input_audio_buffer.commit()
            connection.response.create()
            connection.response.create()
            error = until(connection, "error")[-1].error
            assert error.code == "conversation_already_has_active_response"
            connection.response.cancel(response_id="resp_other")
            assert until(connection, "error")[-1].error.code == "response_cancel_not_active"
            connection.response.cancel()
            until(connection, DONE)

    def test_an_answer_in_a_transcription_session(self, server: str) -> None:
        with talking(server, "transcription", audio=by_hand()) as connection:
            connection.response.create()
            assert "transcription session" in until(connection, "error")[-1].error.message

    def test_sound_past_the_end_of_a_turn(self) -> None:
        sound = np.concatenate([pcm("question.wav"), silence(0.5)])
        settings, options = Settings(max_seconds=1.5), {"instructions": QUESTION, "audio": by_hand()}
        with running(settings) as address, talking(address, **options) as connection:
            append(connection, sound)
            connection.input_audio_buffer.commit()
            connection.response.create()
            events = until(connection, "error", DONE)
        assert "limit of 1.5 s after 1." in events[0].error.message
        assert one(events, DONE).response.output[0].content[0].text.startswith("where is")

    def test_a_full_context(self, tmp_path: Path) -> None:
        folder = make_checkpoint(tmp_path / "model", max_position_embeddings=256)
        settings = Settings(model=str(folder), max_tokens=8)
        with running(settings) as address, raw(address, f"?model={folder}") as socket:
            assert receive(socket)["type"] == "session.created"
            socket.send(update(instructions="word " * 300))
            assert "the model's context holds 256" in receive(socket)["error"]["message"]
            socket.send(json.dumps(BY_HAND))
            assert receive(socket)["type"] == "session.updated"
            for _ in range(20):
                socket.send(event("input_audio_buffer.append", audio=base64.b64encode(bytes(48_000)).decode()))
            assert "context of 256 tokens is full" in receive(socket)["error"]["message"]
            socket.send(event("input_audio_buffer.commit"))
            socket.send(event("response.create"))
            while (last := receive(socket))["type"] != DONE:
                assert last["type"] != "error" or "end of the model's context" in last["error"]["message"]
            assert last["response"]["status"] in ("completed", "incomplete")


class TestDoors:
    def test_how_many(self) -> None:
        with running(Settings(max_sessions=1)) as address:
            with raw(address) as first:
                receive(first)
                status, error = refusal(address)
                assert status == 429
                assert error["code"] == "too_many_sessions"
                assert "1 realtime sessions" in error["message"]
            wait_until(lambda: opens(address))

    @pytest.mark.parametrize("path", ["/realtime", "/v1/realtime/", "/v1/chat/completions", "/health", "/"])
    def test_another_path(self, server: str, path: str) -> None:
        with pytest.raises(InvalidStatus) as raised, connect(server.replace("http", "ws", 1) + path):
            pass
        assert raised.value.response.status_code == 404
        assert "it is /v1/realtime" in json.loads(raised.value.response.body)["error"]["message"]

    def test_none(self) -> None:
        with running(Settings(max_sessions=0)) as address:
            assert refusal(address)[0] == 404

    def test_keys(self) -> None:
        with running(Settings(api_keys=("secret",))) as address:
            assert refusal(address)[0] == 401
            assert refusal(address, additional_headers={"authorization": "Bearer wrong"})[0] == 401
            with raw(address, additional_headers={"authorization": "Bearer secret"}) as socket:
                assert receive(socket)["type"] == "session.created"
            protocols: Any = ["realtime", "openai-insecure-api-key.secret"]  # as browsers send it
            with raw(address, subprotocols=protocols) as socket:
                assert socket.subprotocol == "realtime"
                assert receive(socket)["type"] == "session.created"

    def test_origins(self, server: str) -> None:
        status, error = refusal(server, origin="https://elsewhere.example")
        assert status == 403
        assert "--cors-origin" in error["message"]
        assert refusal(server, origin="null")[0] == 403
        assert opens(server, origin=server)
        with running(Settings(cors_origins=("https://friend.example",))) as address:
            assert opens(address, origin="https://friend.example")
            assert refusal(address, origin="https://elsewhere.example")[0] == 403

    def test_another_model(self, server: str) -> None:
        status, error = refusal(server, "?model=gpt-realtime")
        assert status == 404
        assert error["code"] == "model_not_found"

    def test_no_model_named(self, server: str) -> None:
        assert opens(server, query="")

    def test_a_model_that_cannot_listen(self, tmp_path: Path) -> None:
        folder = make_qwen2_audio(tmp_path / "model")
        with running(Settings(model=str(folder))) as address:
            status, error = refusal(address, f"?model={folder}")
        assert status == 400
        assert "can't listen live" in error["message"]

    def test_how_long(self) -> None:
        with running(Settings(session_s=0.5)) as address, raw(address) as socket:
            begun = time.monotonic()
            assert receive(socket)["session"]["expires_at"] <= time.time() + 1
            error = receive(socket)["error"]
            assert error["code"] == "session_expired"
            assert time.monotonic() - begun < 5
            with pytest.raises(ConnectionClosed) as closed:
                socket.recv(PATIENCE_S)
            assert closed.value.rcvd is not None
            assert closed.value.rcvd.code == 1008


@pytest.fixture
def held(monkeypatch: pytest.MonkeyPatch) -> Callable[[], int]:
    """How many of the library's sessions that begin from now on are held still."""
    begun: list[weakref.ref[Session]] = []
    begin = Session.__init__

    def noted(session: Session, *given: Any, **options: Any) -> None:
        begun.append(weakref.ref(session))
        begin(session, *given, **options)

    monkeypatch.setattr(Session, "__init__", noted)
    return lambda: sum(session() is not None for session in begun)


class TestLeaving:
    def test_frees_everything(self, server: str, held: Callable[[], int]) -> None:
        """Also when it happens in the middle of an answer: what it was for is not held, nor computed any further."""
        open_before = metric(server, "auricle_realtime_sessions")
        with raw(server) as socket:
            receive(socket)
            socket.send(json.dumps(BY_HAND))
            socket.send(event("input_audio_buffer.append", audio=base64.b64encode(ENDLESS.tobytes()).decode()))
            socket.send(event("input_audio_buffer.commit"))
            socket.send(event("response.create"))
            while receive(socket)["type"] != "response.output_text.delta":
                pass
            assert held() > 0
            socket.socket.shutdown(SHUT_RDWR)  # no goodbye
        wait_until(lambda: held() == 0, 5)
        wait_until(lambda: metric(server, "auricle_realtime_sessions") == open_before)

    def test_in_the_middle_of_a_turn(self, server: str, held: Callable[[], int]) -> None:
        with raw(server) as socket:
            receive(socket)
            socket.send(json.dumps(BY_HAND))
            assert receive(socket)["type"] == "session.updated"
            socket.send(event("input_audio_buffer.append", audio=base64.b64encode(ENDLESS.tobytes()).decode()))
            wait_until(lambda: held() > 0)
        wait_until(lambda: held() == 0, 5)


class TestStopping:
    def test_an_answer_under_way_is_finished(self, tmp_path: Path) -> None:
        from tests.server.processes import serving

        with serving(tmp_path) as served:
            address = f"http://127.0.0.1:{served.port}"
            with talking(address, instructions=QUESTION, audio=by_hand(), max_output_tokens=150) as connection:
                append(connection, ENDLESS)
                connection.input_audio_buffer.commit()
                connection.response.create()
                until(connection, "response.output_text.delta")
                served.send(signal.SIGTERM)
                response = one(until(connection, DONE), DONE).response
                assert response.usage.output_tokens == 150
                with pytest.raises(ConnectionClosed) as closed:
                    connection._connection.recv(PATIENCE_S)
                assert closed.value.rcvd is not None
                assert closed.value.rcvd.code == 1001
            assert served.process.wait(PATIENCE_S) == 0


def refusal(address: str, query: str = "?model=tiny", **options: Any) -> tuple[int, dict[str, Any]]:
    with pytest.raises(InvalidStatus) as refused, raw(address, query, **options):
        pass
    return refused.value.response.status_code, json.loads(refused.value.response.body)["error"]


def opens(address: str, query: str = "?model=tiny", **options: Any) -> bool:
    try:
        with raw(address, query, **options) as socket:
            return bool(receive(socket)["type"] == "session.created")
    except InvalidStatus:
        return False


def metric(address: str, name: str) -> float:
    import httpx2

    lines = httpx2.get(f"{address}/metrics").text.splitlines()
    return next(float(line.split()[-1]) for line in lines if line.startswith(f"{name} "))
