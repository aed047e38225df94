"""/v1/audio/embeddings and /v1/audio/classifications: they are the library's, in the shapes that the page promises."""

from __future__ import annotations

import base64
from typing import Any

import httpx2
import numpy as np
import pytest

import auricle
from auricle.server import vectors
from tests.server.bad import CLASSIFY, EMBED
from tests.server.conftest import EXAMPLES, encoded

SOUNDS = ("sentence.wav", "question.wav")


@pytest.fixture(scope="module")
def model() -> auricle.Model:
    return auricle.load("tiny", cache_mb=0)


def embedded(client: httpx2.Client, *names: str, **options: Any) -> list[dict[str, Any]]:
    sounds: list[Any] = [encoded(name) for name in names]
    request = {"model": "tiny", "input": sounds if len(sounds) > 1 else sounds[0], **options}
    answer = client.post(EMBED, json=request)
    assert answer.status_code == 200, answer.text
    assert answer.json().keys() == {"object", "model", "data", "usage"}
    return list(answer.json()["data"])


class TestEmbeddings:
    def test_one_vector_of_each_sound(self, client: httpx2.Client, model: auricle.Model) -> None:
        found = embedded(client, *SOUNDS)
        own = model.embed_many([EXAMPLES / name for name in SOUNDS], pooling="mean")
        assert [one["index"] for one in found] == [0, 1]
        for one, other in zip(found, own, strict=True):
            assert one["shape"] == [192]
            np.testing.assert_allclose(one["embedding"], other.vectors[0, 0], rtol=1e-4, atol=1e-5)
            assert one["start_s"] == other.start_s.tolist()
            assert one["end_s"] == other.end_s.tolist()

    def test_all_of_several_layers(self, client: httpx2.Client, model: auricle.Model) -> None:
        (found,) = embedded(client, "sentence.wav", layers=[0, -1], pooling="none")
        own = model.embed(EXAMPLES / "sentence.wav", layers=(0, -1), pooling="none")
        assert found["shape"] == list(own.vectors.shape)
        assert found["layers"] == list(own.layers)
        np.testing.assert_allclose(found["embedding"], own.vectors, rtol=1e-4, atol=1e-5)
        assert len(found["start_s"]) == len(found["end_s"]) == own.vectors.shape[1]

    def test_in_base64(self, client: httpx2.Client) -> None:
        options = {"layers": "all", "pooling": "window=0.5"}
        (plain,), (packed,) = (
            embedded(client, "sentence.wav", encoding_format=form, **options) for form in ("float", "base64")
        )
        values = np.frombuffer(base64.b64decode(packed["embedding"]), "<f4").reshape(packed["shape"])
        np.testing.assert_array_equal(values, np.array(plain["embedding"], "<f4"))
        assert {**plain, "embedding": None} == {**packed, "embedding": None}

    def test_in_an_object(self, client: httpx2.Client) -> None:
        data = {"data": encoded("sentence.wav"), "format": "wav"}
        answer = client.post(EMBED, json={"model": "tiny", "input": data}).json()
        assert answer["data"] == embedded(client, "sentence.wav")
        assert answer["usage"] == {"seconds": 1.618}

    def test_more_than_an_answer_holds(self, client: httpx2.Client, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(vectors, "MAX_ANSWER_MB", 0.1)
        request = {"model": "tiny", "input": encoded("sentence.wav"), "pooling": "none"}
        answer = client.post(EMBED, json=request)
        assert answer.status_code == 413
        assert "numbers" in answer.json()["error"]["message"]
        assert "encoding_format base64" in answer.json()["error"]["message"]
        assert client.post(EMBED, json={**request, "encoding_format": "base64"}).status_code == 200
        assert client.post(EMBED, json={**request, "pooling": "mean"}).status_code == 200


class TestClassifications:
    LABELS = ("speech", "music")

    def test_are_the_librarys(self, client: httpx2.Client, model: auricle.Model) -> None:
        names = ("sentence.wav", "piano.wav")
        sounds = [encoded(name) for name in names]
        answer = client.post(CLASSIFY, json={"model": "tiny", "input": sounds, "labels": self.LABELS}).json()
        for found, name in zip(answer["data"], names, strict=True):
            own = model.classify(EXAMPLES / name, list(self.LABELS))
            assert found["label"] == own.best
            shares = {label["name"]: label["probability"] for label in found["labels"]}
            assert shares == pytest.approx(own.probabilities, abs=1e-4)
            assert sum(shares.values()) == pytest.approx(1.0)
            assert list(shares.values()) == sorted(shares.values(), reverse=True)
        assert answer["usage"]["seconds"] == pytest.approx(1.618 + 3.591, abs=0.002)

    def test_a_question_of_ones_own(self, client: httpx2.Client, model: auricle.Model) -> None:
        question, labels = "What is the first word?", ["where", "there"]
        request = {"model": "tiny", "input": encoded("question.wav"), "labels": labels, "question": question}
        (found,) = client.post(CLASSIFY, json=request).json()["data"]
        own = model.classify(EXAMPLES / "question.wav", labels, question)
        assert [label["name"] for label in found["labels"]] == [label.name for label in own.labels]
