"""`POST /v1/audio/transcriptions` and `/translations`: https://platform.openai.com/docs/api-reference/audio."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterator
from functools import partial
from threading import Event
from typing import Annotated, Any, Literal

from fastapi import APIRouter, File, Form, Request, UploadFile
from fastapi.responses import JSONResponse, PlainTextResponse, Response
from starlette.datastructures import FormData

from auricle.api import Model
from auricle.server import openapi
from auricle.server.bodies import Route
from auricle.server.captions import srt, vtt
from auricle.server.events import events, watched
from auricle.server.failures import ApiError
from auricle.server.languages import language_name
from auricle.server.schemas import Temperature
from auricle.server.service import Service, service_of
from auricle.server.sounds import Sounds
from auricle.types import Audio, Transcript, TranscriptPart, TranscriptSegment

router = APIRouter(route_class=Route)

Format = Literal["json", "text", "srt", "vtt", "verbose_json"]
CAPTION_S = 8.0  # a caption is at most so long: what a person reads at a glance
FIELDS = {"file", "model", "language", "prompt", "response_format", "temperature"}
LISTS = {"timestamp_granularities[]", "include[]"}  # which may stand there more than once
OF_TRANSCRIPTIONS = {"stream", "chunking_strategy", *LISTS}

File_ = Annotated[UploadFile, File(description="A sound in any container and codec, of any length that is allowed.")]
ModelName = Annotated[str, Form()]
Language = Annotated[str, Form(max_length=64, description="A code such as en, or an English name.")]
Prompt = Annotated[str, Form(description="Must be empty: the models here take no hints.")]
Wanted = Annotated[Format, Form()]
Degree = Annotated[Temperature, Form()]
Granularities = Annotated[list[Literal["segment", "word"]], Form(alias="timestamp_granularities[]")]
Include = Annotated[list[str], Form(alias="include[]", description="Must be empty: see /v1/chat/completions.")]
Chunking = Annotated[Literal["auto"], Form(description="Long sounds are always cut at pauses.")]


@router.post("/v1/audio/transcriptions", response_model=None, responses=openapi.TRANSCRIPTS)
async def transcribe(
    request: Request,
    file: File_,
    model: ModelName,
    language: Language = "English",
    prompt: Prompt = "",
    response_format: Wanted = "json",
    temperature: Degree = 0.0,
    stream: Annotated[bool, Form()] = False,
    granularities: Granularities = [],  # noqa: B006 - FastAPI copies it
    include: Include = [],  # noqa: B006
    chunking_strategy: Chunking = "auto",
) -> Response:
    """Writes down what is said."""
    if include:
        raise ApiError(422, "transcripts come without log probabilities: leave include out", param="include")
    if "word" in granularities:
        raise ApiError(
            422,
            "no model here knows the times of words: leave timestamp_granularities out, or ask for segment",
            param="timestamp_granularities",
        )
    if stream and response_format not in ("json", "text"):
        raise ApiError(400, f"a stream has no {response_format}: leave response_format out", param="response_format")
    _check_fields(await request.form(), FIELDS | OF_TRANSCRIPTIONS)
    job = await _read(request, file, model, prompt, language_name(language), response_format, temperature)
    return await events(request, job.stream, ahead=1) if stream else await job.answer(request)


@router.post("/v1/audio/translations", response_model=None, responses=openapi.TRANSLATIONS)
async def translate(
    request: Request,
    file: File_,
    model: ModelName,
    language: Language = "",
    prompt: Prompt = "",
    response_format: Wanted = "json",
    temperature: Degree = 0.0,
) -> Response:
    """Writes down in English what is said in another language."""
    _check_fields(await request.form(), FIELDS)
    spoken = language_name(language) if language else None
    job = await _read(request, file, model, prompt, spoken, response_format, temperature, translate=True)
    return await job.answer(request)


async def _read(
    request: Request,
    file: UploadFile,
    name: str,
    prompt: str,
    language: str | None,
    form: Format,
    temperature: float,
    *,
    translate: bool = False,
) -> _Job:
    service = service_of(request)
    model = service.check_name(name)
    if prompt.strip():
        raise ApiError(422, "prompt is given, and the models here take no hints: leave it out", param="prompt")
    if not model.backend.hears:
        raise ApiError(422, f"{name} has no audio tower and can't hear: use a model that does", param="model")
    service.check_room()
    content = await file.read()
    audio = await service.decode(partial(Sounds(service.settings).from_bytes, content, "file"))
    return _Job(service, model, audio, language, form, temperature, translate)


def _check_fields(form: FormData, known: set[str]) -> None:
    """Refuses what is not known, and what is given twice: the framework would pass over one of two sounds."""
    counts = Counter(name for name, _ in form.multi_items())
    for name, count in counts.items():
        if name not in known:
            raise ApiError(400, f"{name}: there is no such field here: leave it out", param=name)
        if count > 1 and name not in LISTS:
            raise ApiError(400, f"{name} is given {count} times: send one a request", param=name)


class _Job:
    """One sound to be written down."""

    def __init__(
        self,
        service: Service,
        model: Model,
        audio: Audio,
        language: str | None,
        form: Format,
        temperature: float,
        translate: bool,
    ) -> None:
        self.service, self.model, self.audio, self.language, self.form = service, model, audio, language, form
        self.translate = translate
        self.options: dict[str, Any] = {"temperature": temperature, "timeout_s": service.settings.timeout_s}
        if language is not None:
            self.options["language"] = language
        if form in ("srt", "vtt"):
            self.options["longest_s"] = CAPTION_S

    async def answer(self, request: Request) -> Response:
        """All of it, in the form that was asked for."""
        async with watched(request) as cancel:
            begin = partial(self._whole, cancel)
            transcript = await self.service.last(begin, cancel)
        self._count(request)
        if self.form == "text":
            return PlainTextResponse(transcript.text + "\n")
        if self.form == "srt":
            return PlainTextResponse(srt(transcript.segments), media_type="application/x-subrip")
        if self.form == "vtt":
            return PlainTextResponse(vtt(transcript.segments), media_type="text/vtt")
        told: dict[str, Any] = {"text": transcript.text, "usage": self._usage()}
        if self.form == "verbose_json":
            segments = [_segment(number, segment) for number, segment in enumerate(transcript.segments)]
            told = {
                "task": "translate" if self.translate else "transcribe",
                "language": "english" if self.translate else str(self.language).lower(),
                "duration": round(self.audio.seconds, 3),
                "segments": segments,
                **told,
            }
        return JSONResponse({**told, "auricle": {"notes": list(transcript.notes)}})

    async def stream(self, cancel: Event) -> AsyncIterator[str]:
        """Text as it is written, a segment's times when it is done, and at last the whole."""
        pieces: list[TranscriptSegment] = []
        async for part in self.service.stream(partial(self._parts, cancel), cancel):
            if part.text:
                yield json.dumps({"type": "transcript.text.delta", "delta": part.text}, ensure_ascii=False)
            if part.segment is not None:
                event = {"type": "transcript.text.segment", **_segment(len(pieces), part.segment)}
                pieces.append(part.segment)
                yield json.dumps(event, ensure_ascii=False)
        text = " ".join(piece.text for piece in pieces if piece.text)
        notes = [note for piece in pieces for note in piece.notes]
        done = {"type": "transcript.text.done", "text": text, "usage": self._usage(), "auricle": {"notes": notes}}
        yield json.dumps(done, ensure_ascii=False)

    def _parts(self, cancel: Event) -> Iterator[TranscriptPart]:
        return self.model.write_down(self.audio, cancel=cancel, **self.options)

    def _whole(self, cancel: Event) -> Iterator[Transcript]:
        yield self.model.transcribe(self.audio, cancel=cancel, translate=self.translate, **self.options)

    def _usage(self) -> dict[str, Any]:
        return {"type": "duration", "seconds": round(self.audio.seconds, 3)}

    def _count(self, request: Request) -> None:
        self.service.metrics.audio.inc(self.audio.seconds)
        request.state.record.update(audio_s=round(self.audio.seconds, 3))


def _segment(number: int, segment: TranscriptSegment) -> dict[str, Any]:
    return {"id": number, "start": round(segment.start_s, 3), "end": round(segment.end_s, 3), "text": segment.text}
