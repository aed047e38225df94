"""`POST /v1/audio/embeddings` and `/v1/audio/classifications`: in the manner of OpenAI's `/v1/embeddings`."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from dataclasses import asdict
from functools import partial
from threading import Event
from typing import Any

import numpy as np
from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

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

    def work() -> Iterator[list[Embedding]]:
        yield model.embed_many(sounds, **options)

    async with watched(request) as cancel:
        found = await service.last(work, cancel)
    data = [_vectors(number, embedding, body.encoding_format == "base64") for number, embedding in enumerate(found)]
    seconds = round(sum(embedding.seconds for embedding in found), 3)
    request.state.record.update(audio_s=seconds)
    service.metrics.audio.inc(seconds)
    return JSONResponse({"object": "list", "model": body.model, "data": data, "usage": {"seconds": seconds}})


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


def _vectors(number: int, embedding: Embedding, encoded: bool) -> dict[str, Any]:
    """As OpenAI has it where there is one vector; else nested `(layers, vectors, width)`, with their times."""
    vectors = embedding.vectors.astype(np.float32)
    one = vectors.shape[0] == 1 and vectors.shape[1] == 1
    shown = vectors[0, 0] if one else vectors
    value: Any = base64.b64encode(shown.astype("<f4").tobytes()).decode("ascii") if encoded else shown.tolist()
    return {
        "object": "embedding",
        "index": number,
        "embedding": value,
        "shape": list(shown.shape),
        "layers": list(embedding.layers),
        "start_s": [None if np.isnan(at) else float(at) for at in embedding.start_s],
        "end_s": [None if np.isnan(at) else float(at) for at in embedding.end_s],
        "notes": list(embedding.notes),
    }


def _labels(number: int, labels: Labels) -> dict[str, Any]:
    return {
        "object": "classification",
        "index": number,
        "label": labels.best,
        "labels": [asdict(label) for label in labels.labels],
        "multiple": labels.multiple,
        "notes": list(labels.notes),
    }
