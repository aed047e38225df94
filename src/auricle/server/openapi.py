"""What the OpenAPI says of answers: their media types and shapes, and with which statuses each route refuses."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

Schema = dict[str, Any]
Responses = dict[int | str, dict[str, Any]]

TEXT: Schema = {"type": "string"}
NUMBER: Schema = {"type": "number"}
COUNT: Schema = {"type": "integer", "minimum": 0}
ANY: Schema = {"type": "object"}
EVENT: Schema = {"type": "object", "required": ["data"], "properties": {"data": TEXT}}  # JSON, or the last, [DONE]
ERROR = {"$ref": "#/components/schemas/Error"}

STATUSES = {
    400: "Malformed.",
    401: "No key, or one that is not known.",
    404: "No such model.",
    408: "The body did not come, or the answer was not done, in time.",
    413: "The body, its text or its sounds are larger than a limit.",
    415: "A sound that can't be decoded, or a body that is neither JSON nor a form where it must be.",
    422: "Well formed, and can't be done: no audio tower, longer than the context, an image, ...",
    429: "The queue is full; the header retry-after tells in how many seconds to try again.",
    500: "A fault of ours.",
    503: "The model is being loaded, or the server was stopped.",
}


def refusals(*statuses: int) -> Responses:
    return {
        status: {"description": STATUSES[status], "content": {"application/json": {"schema": ERROR}}}
        for status in statuses
    }


def array(of: Schema) -> Schema:
    return {"type": "array", "items": of}


def nullable(schema: Schema) -> Schema:
    return {"anyOf": [schema, {"type": "null"}]}


def record(optional: tuple[str, ...] = (), /, **fields: Schema) -> Schema:
    """An object of exactly these fields."""
    required = [name for name in fields if name not in optional]
    return {"type": "object", "required": required, "properties": fields, "additionalProperties": False}


def answers(text: str, json_schema: Schema, *others: str, streams: bool = False) -> Responses:
    """200 with JSON of a shape, or in other media types where a request asks for them; and all statuses that refuse."""
    content = {"application/json": {"schema": json_schema}} | {kind: {"schema": TEXT} for kind in others}
    if streams:
        content["text/event-stream"] = {"itemSchema": EVENT}
    return {200: {"description": text, "content": content}} | refusals(*STATUSES)


BARE_TOKEN = record(token=TEXT, logprob=NUMBER, bytes=array(COUNT))
TOKEN = record(token=TEXT, logprob=NUMBER, bytes=array(COUNT), top_logprobs=array(BARE_TOKEN))
CHAT = answers(
    "The answers; with `stream`, server-sent events of chunks, `[DONE]` last.",
    record(
        id=TEXT,
        object={"const": "chat.completion"},
        created=COUNT,
        model=TEXT,
        choices=array(
            record(
                index=COUNT,
                message=record(role={"const": "assistant"}, content=TEXT, refusal={"type": "null"}),
                logprobs=nullable(record(content=array(TOKEN), refusal={"type": "null"})),
                finish_reason={"enum": ["stop", "length"]},
            )
        ),
        usage=record(
            prompt_tokens=COUNT,
            completion_tokens=COUNT,
            total_tokens=COUNT,
            prompt_tokens_details=record(audio_tokens=COUNT, cached_tokens=COUNT),
        ),
        auricle=record(notes=array(TEXT), segments=array(ANY), timings=ANY),
    ),
    streams=True,
)
DURATION = record(type={"const": "duration"}, seconds=NUMBER)
SEGMENT = record(id=COUNT, start=NUMBER, end=NUMBER, text=TEXT)
WRITTEN = record(
    ("task", "language", "duration", "segments"),  # of verbose_json
    task={"enum": ["transcribe", "translate"]},
    language=TEXT,
    duration=NUMBER,
    segments=array(SEGMENT),
    text=TEXT,
    usage=DURATION,
    auricle=record(notes=array(TEXT)),
)
CAPTIONS = ("text/plain", "application/x-subrip", "text/vtt")
TRANSCRIPTS = answers("The transcript, in the form asked for.", WRITTEN, *CAPTIONS, streams=True)
TRANSLATIONS = answers("The translation, in the form asked for.", WRITTEN, *CAPTIONS)


def _list(of: Schema) -> Schema:
    return record(object={"const": "list"}, model=TEXT, data=array(of), usage=record(seconds=NUMBER))


EMBEDDINGS = answers(
    "A record for each sound, in the order given.",
    _list(
        record(
            object={"const": "embedding"},
            index=COUNT,
            embedding={"type": ["array", "string"], "description": "Numbers in nested lists, or float32 in base64."},
            shape=array(COUNT),
            layers=array({"type": "integer"}),
            start_s=array(nullable(NUMBER)),
            end_s=array(nullable(NUMBER)),
            notes=array(TEXT),
        )
    ),
)
CLASSIFICATIONS = answers(
    "A record for each sound, in the order given, its labels by how probable they are.",
    _list(
        record(
            object={"const": "classification"},
            index=COUNT,
            label=TEXT,
            labels=array(record(name=TEXT, probability=NUMBER)),
            multiple={"type": "boolean"},
            notes=array(TEXT),
        )
    ),
)
MODEL = record(id=TEXT, object={"const": "model"}, created=COUNT, owned_by=TEXT)


def shows(text: str, schema: Schema, *statuses: int, kind: str = "application/json") -> Responses:
    """200 of a route without a body, and with which statuses it refuses."""
    return {200: {"description": text, "content": {kind: {"schema": schema}}}} | refusals(*statuses)


MODELS = shows("The model that is served.", record(object={"const": "list"}, data=array(MODEL)), 401)
ONE_MODEL = shows("The model that is served.", MODEL, 401, 404)
METRICS = shows("Prometheus' text format.", TEXT, 401, kind="text/plain")
LIVE = shows("It answers.", record(status={"const": "live"}))
HEALTH = record(status={"enum": ["ready", "failed", "loading"]}, model=TEXT, error=nullable(TEXT))
READY = shows("Requests can be answered.", HEALTH) | {
    503: {"description": "Not yet, or never.", "content": {"application/json": {"schema": HEALTH}}}
}


def describe(app: FastAPI, *, with_keys: bool) -> None:
    """Makes an app's OpenAPI true where the framework can't know: errors, keys, and that forms take no other fields."""
    original = app.openapi

    def openapi() -> Schema:
        schema = original()
        components = schema.setdefault("components", {})
        schemas = components.setdefault("schemas", {})
        schemas["Error"] = record(
            error=record(message=TEXT, type=TEXT, param=nullable(TEXT), code=nullable(TEXT)),
        )
        for name in ("HTTPValidationError", "ValidationError"):
            schemas.pop(name, None)
        for name, form in schemas.items():
            if name.startswith("Body_"):
                form["additionalProperties"] = False
        for path, operations in schema["paths"].items():
            for operation in operations.values():
                if "HTTPValidationError" in str(operation["responses"].get("422")):
                    del operation["responses"]["422"]  # the framework's own, which is never sent
                if with_keys and not path.startswith("/health"):
                    operation["security"] = [{"key": []}]
        if with_keys:
            components["securitySchemes"] = {"key": {"type": "http", "scheme": "bearer"}}
        return schema

    app.openapi = openapi  # type: ignore[method-assign]
