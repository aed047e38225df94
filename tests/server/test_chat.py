"""/v1/chat/completions as the official client uses it, and as anybody may misuse it."""

from __future__ import annotations

import asyncio
import json
import math
from typing import Any

import httpx2
import openai
import pytest

import auricle
from auricle.server.settings import Settings
from tests.checkpoints import make_checkpoint
from tests.server.conftest import EXAMPLES, asking, encoded, running

QUESTION = "What does the speaker say?"


@pytest.fixture
def official(server: str) -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{server}/v1", api_key="none", max_retries=0)


@pytest.fixture(scope="module")
def model() -> auricle.Model:
    return auricle.load("tiny")


class TestOfficialClient:
    def test_an_answer_is_the_librarys(self, official: openai.OpenAI, model: auricle.Model) -> None:
        answer = official.chat.completions.create(**asking(QUESTION, "sentence.wav"))
        own = model.ask(EXAMPLES / "sentence.wav", QUESTION, max_tokens=100)
        assert answer.choices[0].message.content == own.text == "the old man opened the window"
        assert answer.choices[0].finish_reason == "stop"
        assert answer.usage is not None
        assert answer.usage.prompt_tokens == own.prompt_tokens
        assert answer.usage.completion_tokens == len(own.tokens)
        details = answer.usage.prompt_tokens_details
        assert details is not None
        assert details.audio_tokens == own.segments[0].tokens > 0

    def test_a_stream(self, official: openai.OpenAI) -> None:
        chunks = list(
            official.chat.completions.create(
                **asking(QUESTION, "sentence.wav"), stream=True, stream_options={"include_usage": True}
            )
        )
        text = "".join(chunk.choices[0].delta.content or "" for chunk in chunks if chunk.choices)
        assert text == "the old man opened the window"
        assert sum(bool(chunk.choices and chunk.choices[0].delta.content) for chunk in chunks) > 3
        assert chunks[0].choices[0].delta.role == "assistant"
        assert chunks[-1].usage is not None
        assert chunks[-1].usage.prompt_tokens_details is not None
        assert chunks[-1].usage.prompt_tokens_details.audio_tokens

    def test_async(self, server: str) -> None:
        async def ask() -> list[str | None]:
            async with openai.AsyncOpenAI(base_url=f"{server}/v1", api_key="none") as client:
                whole = client.chat.completions.create(**asking(QUESTION, "sentence.wav"))
                stream = await client.chat.completions.create(**asking(QUESTION, "question.wav"), stream=True)
                text = "".join([chunk.choices[0].delta.content or "" async for chunk in stream])
                return [(await whole).choices[0].message.content, text]

        assert asyncio.run(ask()) == ["the old man opened the window", "where is my green coat"]

    def test_several_answers(self, official: openai.OpenAI) -> None:
        request = asking(QUESTION, "sentence.wav", n=3, temperature=3.0, seed=5, max_tokens=12)
        first, again = (official.chat.completions.create(**request) for _ in range(2))
        texts = [choice.message.content for choice in first.choices]
        assert [choice.index for choice in first.choices] == [0, 1, 2]
        assert len(set(texts)) > 1
        assert texts == [choice.message.content for choice in again.choices]
        streamed = ["", "", ""]
        for chunk in official.chat.completions.create(**request, stream=True):
            for choice in chunk.choices:
                streamed[choice.index] += choice.delta.content or ""
        assert [text.strip() for text in streamed] == texts

    def test_several_sounds_and_turns(self, official: openai.OpenAI) -> None:
        request = asking(QUESTION, "sentence.wav", "question.wav")
        request["messages"] = [
            {"role": "system", "content": "Be short."},
            *request["messages"],
            {"role": "assistant", "content": "the old man"},
            {"role": "user", "content": "And then?"},
        ]
        answer = official.chat.completions.create(**request)
        assert answer.usage is not None
        assert answer.usage.prompt_tokens_details is not None
        one = official.chat.completions.create(**asking(QUESTION, "sentence.wav")).usage
        assert one is not None
        assert one.prompt_tokens_details is not None
        assert (answer.usage.prompt_tokens_details.audio_tokens or 0) > (one.prompt_tokens_details.audio_tokens or 0)

    def test_log_probabilities(self, official: openai.OpenAI, model: auricle.Model) -> None:
        request = asking(QUESTION, "sentence.wav", logprobs=True, top_logprobs=3)
        found = official.chat.completions.create(**request).choices[0].logprobs
        assert found is not None
        assert found.content is not None
        own = model.ask(EXAMPLES / "sentence.wav", QUESTION, logprobs=3).logprobs
        assert own is not None
        assert [token.token for token in found.content] == [token.text for token in own]
        assert [token.logprob for token in found.content] == pytest.approx([token.logprob for token in own], abs=1e-4)
        assert all(len(token.top_logprobs) == 3 for token in found.content)
        streamed = [
            token
            for chunk in official.chat.completions.create(**request, stream=True)
            for choice in chunk.choices
            for token in (choice.logprobs.content or [] if choice.logprobs else [])
        ]
        assert [token.token for token in streamed] == [token.token for token in found.content]

    def test_log_probabilities_are_those_of_a_score(self, model: auricle.Model) -> None:
        answer = model.ask(EXAMPLES / "sentence.wav", QUESTION, logprobs=0)
        assert answer.logprobs is not None
        score = model.score(EXAMPLES / "sentence.wav", [answer.text], QUESTION).choices[0]
        assert sum(token.logprob for token in answer.logprobs) == pytest.approx(score.logprob, abs=1e-3)
        assert all(math.isfinite(token.logprob) and not token.top for token in answer.logprobs)

    def test_held_to_choices_and_schemas(self, official: openai.OpenAI) -> None:
        held = official.chat.completions.create(
            **asking("Is it speech?", "sentence.wav"), extra_body={"choices": ["yes it is", "no it is not"]}
        )
        assert held.choices[0].message.content in ("yes it is", "no it is not")
        schema = {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        form = {"type": "json_schema", "json_schema": {"name": "it", "schema": schema, "strict": True}}
        answer = official.chat.completions.create(**asking("How many?", "sentence.wav"), response_format=form)
        if answer.choices[0].finish_reason == "stop":
            assert isinstance(json.loads(answer.choices[0].message.content or "")["n"], int)

    def test_stops(self, official: openai.OpenAI) -> None:
        answer = official.chat.completions.create(**asking(QUESTION, "sentence.wav", stop="opened"))
        assert answer.choices[0].message.content == "the old man"
        cut = official.chat.completions.create(**asking(QUESTION, "sentence.wav", max_completion_tokens=2))
        assert cut.choices[0].finish_reason == "length"
        assert "cut after 2 tokens" in (cut.model_extra or {})["auricle"]["notes"][0]

    def test_models(self, official: openai.OpenAI) -> None:
        assert [model.id for model in official.models.list()] == ["tiny"]
        assert official.models.retrieve("tiny").object == "model"
        with pytest.raises(openai.NotFoundError, match="this server has 'tiny'"):
            official.models.retrieve("gpt-4o-audio-preview")


def refused(client: httpx2.Client, status: int, request: Any) -> dict[str, Any]:
    answer = client.post("/v1/chat/completions", json=request)
    assert answer.status_code == status, answer.text
    error = answer.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert "\n" not in error["message"]
    return dict(error)


class TestRefusals:
    def test_base64_that_is_none(self, client: httpx2.Client) -> None:
        request = asking("?")
        request["messages"][0]["content"].append({"type": "input_audio", "input_audio": {"data": "/etc/passwd."}})
        error = refused(client, 400, request)
        assert error["param"] == "messages.0.content.1.input_audio.data"

    def test_a_path_is_never_opened(self, client: httpx2.Client) -> None:
        request = asking("?")
        path = str(EXAMPLES / "sentence.wav")
        request["messages"][0]["content"].append({"type": "input_audio", "input_audio": {"data": path}})
        refused(client, 400, request)
        for url in (path, f"file://{path}", "http://127.0.0.1/x.wav", "https://example.org/x.wav"):
            request["messages"][0]["content"][1] = {"type": "audio_url", "audio_url": {"url": url}}
            refused(client, 400, request)

    def test_a_data_url_is_heard(self, client: httpx2.Client) -> None:
        request = asking(QUESTION)
        url = f"data:audio/wav;base64,{encoded('sentence.wav')}"
        request["messages"][0]["content"].append({"type": "audio_url", "audio_url": {"url": url}})
        answer = client.post("/v1/chat/completions", json=request).json()
        assert answer["choices"][0]["message"]["content"] == "the old man opened the window"

    def test_what_is_no_sound(self, client: httpx2.Client) -> None:
        request = asking("?")
        request["messages"][0]["content"].append({"type": "input_audio", "input_audio": {"data": "SGVsbG8sIHdvcmxk"}})
        assert "no sound that can be decoded" in refused(client, 415, request)["message"]

    def test_an_image(self, client: httpx2.Client) -> None:
        request = asking("?", "sentence.wav")
        request["messages"][0]["content"].append({"type": "image_url", "image_url": {"url": "data:,"}})
        assert "images are not understood" in refused(client, 422, request)["message"]

    def test_an_unknown_field_and_a_wrong_type(self, client: httpx2.Client) -> None:
        assert refused(client, 400, asking("?", "sentence.wav", temprature=1))["param"] == "temprature"
        assert refused(client, 400, asking("?", "sentence.wav", temperature="hot"))["param"] == "temperature"
        assert refused(client, 400, asking("?", "sentence.wav", frequency_penalty=1.0))["param"] == "frequency_penalty"
        assert refused(client, 400, asking("?", "sentence.wav", max_tokens=100_000))["param"] == "max_tokens"
        assert refused(client, 422, asking("?", "sentence.wav", n=100))["param"] == "n"

    def test_another_model(self, client: httpx2.Client) -> None:
        assert refused(client, 404, {**asking("?", "sentence.wav"), "model": "x"})["code"] == "model_not_found"

    def test_a_stream_that_can_not_begin_has_its_status(self, client: httpx2.Client) -> None:
        refused(client, 400, asking("?", "sentence.wav", stream=True, choices=["a", "a"]))

    def test_a_model_that_can_not_hear(self, tmp_path: Any) -> None:
        folder = str(make_checkpoint(tmp_path / "deaf", audio=False))
        with running(Settings(model=folder)) as address, httpx2.Client(base_url=address) as client:
            heard = {**asking("?", "sentence.wav"), "model": folder}
            assert "no audio tower" in refused(client, 422, heard)["message"]
            text = {"model": folder, "messages": [{"role": "user", "content": "Hello"}], "max_tokens": 3}
            answer = client.post("/v1/chat/completions", json=text).json()
            assert answer["usage"]["prompt_tokens_details"]["audio_tokens"] == 0
            assert answer["usage"]["completion_tokens"] > 0
