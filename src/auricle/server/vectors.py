"""`POST /v1/audio/embeddings` and `/v1/audio/classifications`: in the manner of OpenAI's `/v1/embeddings`."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from threading import Event
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from numpy.typing import NDArray

from auricle.api import Model
from auricle.server import openapi
from auricle.server.bodies import Route
from auricle.server.events import watched
from auricle.server.failures import ApiError
from auricle.server.schemas import ClassificationRequest, EmbeddingRequest, SoundInput
from auricle.server.service import Service, service_of
from auricle.server.sounds import Sounds
from auricle.types import Audio, Embedding, Labels

router = APIRouter(route_class=Route)
MAX_ANSWER_MB = 100
JSON_BYTES, BASE64_BYTES = 21, 16 / 3  # of a number


@router.post("/v1/audio/embeddings", response_model=None, responses=openapi.EMBEDDINGS)
async def embed(body: EmbeddingRequest, request: Request) -> Response:
    """Vectors of sounds. Pooled, each sound has one for every layer; otherwise one for every stretch of time."""
    service, model, sounds = await _read(body, request)
    options: dict[str, Any] = {
        "stage": body.stage,
        "layers": tuple(body.layers) if isinstance(body.layers, list) else body.layers,
        "pooling": body.pooling,
        "overlap": body.overlap,
    }
    for name in ("prompt", "order"):
        if getattr(body, name) is not None:
            options[name] = getattr(body, name)

    encoded = body.encoding_format == "base64"
    seconds = round(sum(sound.seconds for sound in sounds), 3)

    def work() -> Iterator[bytes]:
        found = model.embed_many(sounds, **options)
        _check_size(sum(embedding.vectors.size for embedding in found), encoded)
        data = ", ".join(_vectors(number, embedding, encoded) for number, embedding in enumerate(found))
        rest = json.dumps({"object": "list", "model": body.model, "usage": {"seconds": seconds}})
        yield f'{{"data": [{data}], {rest[1:]}'.encode()

    async with watched(request) as cancel:
        answer = await service.last(work, cancel)
    request.state.record.update(audio_s=seconds)
    service.metrics.audio.inc(seconds)
    return Response(answer, media_type="application/json")


@router.post("/v1/audio/classifications", response_model=None, responses=openapi.CLASSIFICATIONS)
async def classify(body: ClassificationRequest, request: Request) -> Response:
    """How probable each of some labels is for each sound."""
    service, model, sounds = await _read(body, request)
    options: dict[str, Any] = {
        name: value for name in ("question", "order") if (value := getattr(body, name)) is not None
    }
    options["timeout_s"] = service.settings.timeout_s

    def work(cancel: Event) -> Iterator[list[Labels]]:
        yield [model.classify(sound, body.labels, cancel=cancel, **options) for sound in sounds]

    async with watched(request) as cancel:
        found = await service.last(partial(work, cancel), cancel)
    data = [_labels(number, labels) for number, labels in enumerate(found)]
    seconds = round(sum(sound.seconds for sound in sounds), 3)
    request.state.record.update(audio_s=seconds)
    service.metrics.audio.inc(seconds)
    return JSONResponse({"object": "list", "model": body.model, "data": data, "usage": {"seconds": seconds}})


async def _read(body: SoundInput, request: Request) -> tuple[Service, Model, list[Audio]]:
    service = service_of(request)
    model, settings, given = service.check_name(body.model), service.settings, body.sounds
    if not given:
        raise ApiError(400, "input is empty: give at least one sound", param="input")
    if len(given) > settings.max_clips:
        raise ApiError(
            422, f"there are {len(given)} sounds and the limit is {settings.max_clips}: send fewer", param="input"
        )
    if not model.backend.hears:
        raise ApiError(422, f"{body.model} has no audio tower and can't hear: use a model that does", param="model")
    service.check_room()

    def read() -> list[Audio]:
        sounds = Sounds(settings)
        return [sounds.from_base64(data, f"input.{number}") for number, data in enumerate(given)]

    return service, model, await service.decode(read)


def _check_size(numbers: int, encoded: bool) -> None:
    """Refuses an answer of gigabytes: half an hour of sound, of all layers and not pooled, has many.

    Raises:
        ApiError: 413.
    """
    size = numbers * (BASE64_BYTES if encoded else JSON_BYTES) / 1e6
    if size > MAX_ANSWER_MB:
        less = "fewer layers, pooling or shorter sounds" + ("" if encoded else ", or encoding_format base64")
        text = f"the vectors have {numbers:,} numbers, which is {size:,.0f} MB of an answer, and the limit is"
        raise ApiError(413, f"{text} {MAX_ANSWER_MB:,} MB: ask for {less}")


def _vectors(number: int, embedding: Embedding, encoded: bool) -> str:
    """JSON, as OpenAI has it where there is one vector; else nested `(layers, vectors, width)`, with their times."""
    vectors = embedding.vectors.astype("<f4")
    one = vectors.shape[0] == 1 and vectors.shape[1] == 1
    shown = vectors[0, 0] if one else vectors
    value = f'"{base64.b64encode(shown.tobytes()).decode("ascii")}"' if encoded else _listed(shown)
    rest = {
        "object": "embedding",
        "index": number,
        "shape": list(shown.shape),
        "layers": list(embedding.layers),
        "start_s": [None if np.isnan(at) else float(at) for at in embedding.start_s],
        "end_s": [None if np.isnan(at) else float(at) for at in embedding.end_s],
        "notes": list(embedding.notes),
    }
    return f'{{"embedding": {value}, {json.dumps(rest)[1:]}'


def _listed(values: NDArray[np.float32]) -> str:
    """Nested lists in JSON; vector by vector, because nobody else is served while Python writes one text."""
    if values.ndim == 1:
        return json.dumps(values.tolist(), allow_nan=False)
    return f"[{', '.join(map(_listed, values))}]"


def _labels(number: int, labels: Labels) -> dict[str, Any]:
    return {
        "object": "classification",
        "index": number,
        "label": labels.best,
        "labels": [asdict(label) for label in labels.labels],
        "multiple": labels.multiple,
        "notes": list(labels.notes),
    }
