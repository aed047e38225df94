"""/v1/realtime as the official client uses it: turns, answers, transcripts, who speaks when."""

from __future__ import annotations

import asyncio
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
import openai
import pytest

import auricle
from auricle.server.realtime import hearing, wire
from auricle.server.settings import Settings
from auricle.sound.endpoint import open_detector
from tests.server.conftest import EXAMPLES, running
from tests.server.realtime import (
    GREEN_COAT,
    QUESTION,
    SENTENCE,
    TRANSCRIPT,
    append,
    by_hand,
    one,
    pcm,
    pieces,
    silence,
    talking,
    until,
)

DONE = "response.done"
ENDLESS = np.concatenate([pcm("sentence.wav"), silence(0.5)] * 6)  # `tiny` repeats what it hears in it, without end
PATIENT = {"type": "server_vad", "interrupt_response": False}  # for sound that comes faster than it was spoken


@pytest.fixture(scope="module")
def model() -> auricle.Model:
    return auricle.load("tiny")


def answering(**more: Any) -> dict[str, Any]:
    return {"type": "realtime", "instructions": QUESTION, **more}


class TestByHand:
    """The client commits."""

    def test_an_answer_is_the_librarys(self, server: str, model: auricle.Model) -> None:
        with talking(server, **answering(audio=by_hand())) as connection:
            append(connection, pcm("sentence.wav"))
            connection.input_audio_buffer.commit()
            connection.response.create()
            events = until(connection, DONE)
        own = model.ask(EXAMPLES / "sentence.wav", QUESTION)
        response = one(events, DONE).response
        assert response.status == "completed"
        assert response.output[0].content[0].text == own.text == SENTENCE
        assert response.usage.input_tokens == own.prompt_tokens
        assert response.usage.output_tokens == len(own.tokens)
        assert response.usage.input_token_details.audio_tokens == own.segments[0].tokens
        deltas = [event.delta for event in events if event.type == "response.output_text.delta"]
        assert len(deltas) > 3
        assert "".join(deltas) == SENTENCE

    def test_the_order_of_events(self, server: str) -> None:
        with talking(server, **answering(audio=by_hand())) as connection:
            append(connection, pcm("sentence.wav"))
            connection.input_audio_buffer.commit()
            connection.response.create()
            events = until(connection, DONE)
        kinds = list(dict.fromkeys(event.type for event in events))
        assert kinds == [
            "input_audio_buffer.committed",
            "conversation.item.added",
            "conversation.item.done",
            "response.created",
            "response.output_item.added",
            "response.content_part.added",
            "response.output_text.delta",
            "response.output_text.done",
            "response.content_part.done",
            "response.output_item.done",
            "response.done",
        ]
        heard, said = [event for event in events if event.type == "conversation.item.added"]
        assert heard.item.role == "user"
        assert heard.item.id == one(events, "input_audio_buffer.committed").item_id
        assert said.item.role == "assistant"
        assert said.previous_item_id == heard.item.id
        assert len({event.event_id for event in events}) == len(events)

    def test_a_transcript_is_the_librarys_and_begins_before_the_commit(self, server: str, model: auricle.Model) -> None:
        with talking(server, "transcription", audio=by_hand()) as connection:
            append(connection, pcm("question.wav"))
            early = until(connection, f"{TRANSCRIPT}.delta")[-1]
            connection.input_audio_buffer.commit()
            events = until(connection, f"{TRANSCRIPT}.completed")
        completed = one(events, f"{TRANSCRIPT}.completed")
        assert completed.transcript == model.transcribe(EXAMPLES / "question.wav").text == GREEN_COAT
        assert completed.item_id == early.item_id == one(events, "input_audio_buffer.committed").item_id
        assert early.auricle["partial"].startswith("where is")
        deltas = [event.delta for event in [early, *events] if event.type == f"{TRANSCRIPT}.delta"]
        assert "".join(deltas) == GREEN_COAT
        seconds = len(pcm("question.wav")) / 24_000
        assert completed.usage.seconds == pytest.approx(seconds, abs=0.01)

    def test_deltas_are_what_two_partial_transcripts_agree_on(self, server: str) -> None:
        sound = np.concatenate([pcm("question.wav"), silence(2.5)])
        with talking(server, "transcription", audio=by_hand()) as connection:
            append(connection, sound)
            connection.input_audio_buffer.commit()
            events = until(connection, f"{TRANSCRIPT}.completed")
        before = events[: [event.type for event in events].index("input_audio_buffer.committed")]
        partials = [event.auricle["partial"] for event in before]
        assert len(partials) >= 2
        told = "".join(event.delta for event in before)
        assert told, partials
        assert any(told in first and told in second for first, second in pairwise(partials))

    def test_an_answer_and_a_transcript(self, server: str) -> None:
        audio = by_hand(transcription={"model": "tiny", "language": "en"})
        with talking(server, **answering(audio=audio)) as connection:
            append(connection, pcm("sentence.wav"))
            connection.input_audio_buffer.commit()
            connection.response.create()
            events = until(connection, DONE, f"{TRANSCRIPT}.completed")
        assert one(events, f"{TRANSCRIPT}.completed").transcript == SENTENCE
        assert one(events, DONE).response.output[0].content[0].text == SENTENCE

    def test_no_transcript_unless_asked_for(self, server: str) -> None:
        with talking(server, **answering(audio=by_hand())) as connection:
            append(connection, pcm("sentence.wav"))
            connection.input_audio_buffer.commit()
            connection.response.create()
            assert not [event for event in until(connection, DONE) if event.type.startswith(TRANSCRIPT)]

    def test_16_khz(self, server: str, model: auricle.Model) -> None:
        audio = by_hand(format={"type": "audio/pcm", "rate": 16000})
        with talking(server, "transcription", audio=audio) as connection:
            append(connection, pcm("sentence.wav", 16_000), 16_000)
            connection.input_audio_buffer.commit()
            completed = one(until(connection, f"{TRANSCRIPT}.completed"), f"{TRANSCRIPT}.completed")
        assert completed.transcript == SENTENCE
        assert completed.usage.seconds == pytest.approx(len(pcm("sentence.wav", 16_000)) / 16_000, abs=0.001)

    def test_the_flat_shape_of_the_beta(self, server: str) -> None:
        flat = {"input_audio_format": "pcm16", "turn_detection": None, "modalities": ["text"]}
        flat |= {"instructions": QUESTION, "input_audio_transcription": {"model": "tiny"}}
        with talking(server, **flat) as connection:
            append(connection, pcm("sentence.wav"))
            connection.input_audio_buffer.commit()
            connection.response.create()
            events = until(connection, DONE, f"{TRANSCRIPT}.completed")
        assert one(events, f"{TRANSCRIPT}.completed").transcript == SENTENCE

    def test_turns_stand_for_themselves(self, server: str) -> None:
        with talking(server, **answering(audio=by_hand())) as connection:
            texts = []
            for name in ("sentence.wav", "question.wav", "sentence.wav"):
                append(connection, pcm(name))
                connection.input_audio_buffer.commit()
                connection.response.create()
                response = one(until(connection, DONE), DONE).response
                texts.append((response.output[0].content[0].text, response.usage.input_tokens))
        assert [text for text, _ in texts] == [SENTENCE, GREEN_COAT, SENTENCE]
        assert texts[0] == texts[2]

    def test_async(self, server: str) -> None:
        async def ask() -> str:
            client = openai.AsyncOpenAI(base_url=f"{server}/v1", api_key="none")
            async with client, client.realtime.connect(model="tiny") as connection:
                await connection.session.update(session=answering(audio=by_hand()))  # type: ignore[arg-type]
                for piece in pieces(pcm("question.wav")):
                    await connection.input_audio_buffer.append(audio=piece)
                await connection.input_audio_buffer.commit()
                await connection.response.create()
                async for event in connection:
                    if event.type == "response.output_text.done":
                        return event.text
            return "nothing"

        assert asyncio.run(ask()) == GREEN_COAT

    def test_cleared_sound_is_forgotten(self, server: str) -> None:
        with talking(server, **answering(audio=by_hand())) as connection:
            append(connection, pcm("sentence.wav"))
            connection.input_audio_buffer.clear()
            append(connection, pcm("question.wav"))
            connection.input_audio_buffer.commit()
            connection.response.create()
            events = until(connection, "input_audio_buffer.cleared", DONE)
        assert one(events, DONE).response.output[0].content[0].text == GREEN_COAT

    def test_cancel(self, server: str) -> None:
        with talking(server, **answering(audio=by_hand())) as connection:
            append(connection, ENDLESS)
            connection.input_audio_buffer.commit()
            connection.response.create()
            until(connection, "response.output_text.delta")
            connection.response.cancel()
            response = one(until(connection, DONE), DONE).response
            assert response.status == "cancelled"
            assert response.status_details.reason == "client_cancelled"
            assert response.output[0].status == "incomplete"
            text = response.output[0].content[0].text  # of the first words, as many as were there
            assert text
            assert "the old man".startswith(text) or text.startswith("the old man")
            append(connection, pcm("question.wav"))
            connection.input_audio_buffer.commit()
            connection.response.create()
            assert one(until(connection, DONE), DONE).response.output[0].content[0].text == GREEN_COAT

    def test_a_limit_of_tokens(self, server: str) -> None:
        with talking(server, **answering(audio=by_hand(), max_output_tokens=3)) as connection:
            append(connection, pcm("sentence.wav"))
            connection.input_audio_buffer.commit()
            connection.response.create()
            response = one(until(connection, DONE), DONE).response
        assert response.status == "incomplete"
        assert response.status_details.reason == "max_output_tokens"
        assert response.usage.output_tokens == 3


class TestDetection:
    """The server finds the ends of turns."""

    def test_answers_by_itself(self, server: str) -> None:
        said = [silence(3), pcm("sentence.wav"), silence(2), pcm("question.wav"), silence(2)]
        with talking(server, **answering(audio={"input": {"turn_detection": PATIENT}})) as connection:
            append(connection, np.concatenate(said))
            events = until(connection, DONE, DONE)
        responses = [event.response for event in events if event.type == DONE]
        assert [response.output[0].content[0].text for response in responses] == [SENTENCE, GREEN_COAT]
        starts = [event.audio_start_ms for event in events if event.type == "input_audio_buffer.speech_started"]
        stops = [event.audio_end_ms for event in events if event.type == "input_audio_buffer.speech_stopped"]
        second = 5000 + 1000 * len(pcm("sentence.wav")) / 24_000
        assert 3000 - 900 < starts[0] <= 3000 - 300, starts  # the padding belongs to it
        assert second - 900 < starts[1] <= second - 300, starts
        assert starts[0] < stops[0] < starts[1] < stops[1]
        assert abs(stops[0] - (second - 2000 + 800)) < 400  # 0.8 s after the end of the sentence
        committed = [event.item_id for event in events if event.type == "input_audio_buffer.committed"]
        started = [event.item_id for event in events if event.type == "input_audio_buffer.speech_started"]
        assert committed == started

    def test_silence_is_not_heard(self, server: str) -> None:
        with talking(server, "transcription") as connection:
            append(connection, np.concatenate([silence(20), pcm("sentence.wav"), silence(1.5)]))
            completed = one(until(connection, f"{TRANSCRIPT}.completed"), f"{TRANSCRIPT}.completed")
        assert completed.transcript == SENTENCE
        assert completed.usage.seconds < len(pcm("sentence.wav")) / 24_000 + 2

    def test_a_pause_within_a_turn(self, server: str) -> None:
        vad = {"type": "server_vad", "silence_duration_ms": 2000, "threshold": 0.5, "prefix_padding_ms": 100}
        sound = np.concatenate([pcm("sentence.wav"), silence(1), pcm("question.wav"), silence(3)])
        with talking(server, "transcription", audio={"input": {"turn_detection": vad}}) as connection:
            append(connection, sound)
            completed = one(until(connection, f"{TRANSCRIPT}.completed"), f"{TRANSCRIPT}.completed")
        assert completed.usage.seconds > 4.5

    def test_all_in_one_event(self, server: str) -> None:
        """Turns are found wherever they begin and end, however sound is cut."""
        sound = np.concatenate([pcm("sentence.wav"), silence(2), pcm("question.wav"), silence(2)])
        with talking(server, **answering(audio={"input": {"turn_detection": PATIENT}})) as connection:
            connection.input_audio_buffer.append(audio=next(pieces(sound, 10 * len(sound))))
            events = until(connection, DONE, DONE)
        texts = [event.response.output[0].content[0].text for event in events if event.type == DONE]
        assert texts == [SENTENCE, GREEN_COAT]

    def test_who_speaks_interrupts(self, server: str) -> None:
        vad = {"type": "server_vad", "silence_duration_ms": 1000}
        with talking(server, **answering(audio={"input": {"turn_detection": vad}})) as connection:
            append(connection, np.concatenate([ENDLESS, silence(1)]))
            until(connection, "response.output_text.delta")
            append(connection, np.concatenate([pcm("question.wav"), silence(1.5)]))
            events = until(connection, DONE, DONE)
        first, second = [event.response for event in events if event.type == DONE]
        assert first.status == "cancelled"
        assert first.status_details.reason == "turn_detected"
        assert second.output[0].content[0].text == GREEN_COAT

    def test_answers_when_asked_alone(self, server: str) -> None:
        vad = {"type": "server_vad", "create_response": False}
        with talking(server, **answering(audio={"input": {"turn_detection": vad}})) as connection:
            append(connection, np.concatenate([pcm("sentence.wav"), silence(2), pcm("question.wav"), silence(2)]))
            until(connection, "input_audio_buffer.committed", "input_audio_buffer.committed")
            connection.response.create()
            events = until(connection, DONE)
        assert one(events, DONE).response.output[0].content[0].text == GREEN_COAT  # the last turn's

    def test_a_commit_before_the_pause(self, server: str) -> None:
        with talking(server, "transcription") as connection:
            append(connection, pcm("sentence.wav"))
            connection.input_audio_buffer.commit()
            append(connection, silence(2))  # ends nothing: all speech was in the turn before
            append(connection, np.concatenate([pcm("question.wav"), silence(1.5)]))
            events = until(connection, f"{TRANSCRIPT}.completed", f"{TRANSCRIPT}.completed")
        texts = [event.transcript for event in events if event.type == f"{TRANSCRIPT}.completed"]
        assert texts == [SENTENCE, GREEN_COAT]

    def test_by_energy(self, server: str, monkeypatch: pytest.MonkeyPatch) -> None:
        """Where Silero is not installed; also of somebody who speaks from the first moment."""
        monkeypatch.setattr(hearing, "open_detector", partial(open_detector, "energy"))
        with talking(server, "transcription") as connection:
            append(connection, np.concatenate([pcm("sentence.wav"), silence(2), pcm("question.wav"), silence(2)]))
            events = until(connection, f"{TRANSCRIPT}.completed", f"{TRANSCRIPT}.completed")
        texts = [event.transcript for event in events if event.type == f"{TRANSCRIPT}.completed"]
        assert texts == [SENTENCE, GREEN_COAT]

    def test_a_turn_that_grows_too_long_is_answered(self) -> None:
        sound = np.concatenate([pcm("sentence.wav"), pcm("question.wav"), pcm("sentence.wav"), silence(1)])
        with running(Settings(max_seconds=2.0)) as address, talking(address, "transcription") as connection:
            append(connection, sound)
            wanted = ["error", *[f"{TRANSCRIPT}.completed"] * 3]
            events = until(connection, *wanted)
        errors = [event.error for event in events if event.type == "error"]
        assert "limit of 2 s" in errors[0].message
        seconds = [event.usage.seconds for event in events if event.type == f"{TRANSCRIPT}.completed"]
        assert max(seconds) <= 2.0
        assert sum(seconds) > len(sound) / 24_000 - 0.5  # nothing that was said is lost between turns


def test_the_example_of_the_page(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    page = (EXAMPLES.parent / "docs/realtime.md").read_text(encoding="utf-8")
    code = page.split("```python\n")[1].split("```")[0]
    code = code.replace("http://localhost:8000", server).replace('"examples/', f'"{EXAMPLES}/')
    exec(compile(code, "realtime.md", "exec"), {})
    assert capsys.readouterr().out == GREEN_COAT


def test_no_more_is_read_than_may_wait(server: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """And nothing of it is lost."""
    most = 0

    class Counting(asyncio.Queue[Any]):
        def _put(self, item: Any) -> None:
            nonlocal most
            super()._put(item)
            most = max(most, self.qsize())

    def begin(self: wire.Wire, *given: Any) -> None:
        original(self, *given)
        self._messages = Counting()

    original = wire.Wire.__init__
    monkeypatch.setattr(wire.Wire, "__init__", begin)
    monkeypatch.setattr(wire, "MAX_WAITING", 10_000)  # an append has 6,400 characters
    with talking(server, "transcription", audio=by_hand()) as opened:
        append(opened, np.concatenate([pcm("sentence.wav"), silence(8)]))
        opened.input_audio_buffer.commit()
        completed = one(until(opened, f"{TRANSCRIPT}.completed"), f"{TRANSCRIPT}.completed")
    assert completed.usage.seconds > 9.6
    assert 2 <= most <= 3  # of nearly a hundred
