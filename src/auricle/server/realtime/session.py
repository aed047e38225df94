"""What a realtime session is told to do: `session.update`, read into a `Config`.

Both shapes of OpenAI's API are taken: today's, where sound is described under `audio.input`, and the flat one of its
beta. A field that is left out stays as it was; one that asks for what no model here can do is refused.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Annotated, Any, Literal, cast

from pydantic import AfterValidator, Field, ValidationError

from auricle.server.failures import ApiError, invalid
from auricle.server.languages import language_name
from auricle.server.schemas import Body, Temperature
from auricle.server.settings import Settings

INSTRUCTIONS = "Answer what the speaker says."  # told in `session.created`; a client sends its own
MAX_INSTRUCTIONS = 10_000  # characters: they are read in one go, and everybody waits
Kind = Literal["realtime", "transcription"]


@dataclass(frozen=True)
class Detection:
    """How the end of a turn is found: speech, then so much silence."""

    silence_ms: int = 800  # OpenAI's 500 cuts in on people who think
    padding_ms: int = 300  # of sound before speech that belongs to the turn
    answers: bool = True  # whether a turn that has ended is answered without being asked
    interrupts: bool = True  # whether an answer under way is given up when somebody speaks


@dataclass(frozen=True)
class Config:
    """How sound is taken and what is done with it, of one session."""

    kind: Kind = "realtime"
    instructions: str = INSTRUCTIONS
    rate: int = 24_000  # samples per second of what is appended
    transcribes: bool = False  # whether a "realtime" session writes down what is said, beside its answers
    language: str = "en"  # spoken, for transcripts; as the client gave it
    detection: Detection | None = Detection()  # None: the client commits
    max_tokens: int | Literal["inf"] = "inf"
    temperature: float | None = None

    @property
    def answers(self) -> bool:
        return self.kind == "realtime"

    @property
    def writes(self) -> bool:
        return self.kind == "transcription" or self.transcribes

    def sampling(self, settings: Settings) -> dict[str, Any]:
        """Options of `Model.listen`, for answers."""
        limit = settings.max_tokens if self.max_tokens == "inf" else self.max_tokens
        own = {} if self.temperature is None else {"temperature": self.temperature}
        return {"max_tokens": limit, **own}

    def shown(self, model: str) -> dict[str, Any]:
        """As clients see it."""
        detection = self.detection
        turns = detection and {
            "type": "server_vad",
            "threshold": 0.5,
            "prefix_padding_ms": detection.padding_ms,
            "silence_duration_ms": detection.silence_ms,
            "create_response": detection.answers,
            "interrupt_response": detection.interrupts,
            "idle_timeout_ms": None,
        }
        sound = {
            "format": {"type": "audio/pcm", "rate": self.rate},
            "transcription": {"model": model, "language": self.language} if self.writes else None,
            "noise_reduction": None,
            "turn_detection": turns,
        }
        if not self.answers:
            return {"type": self.kind, "object": "realtime.transcription_session", "audio": {"input": sound}}
        return {
            "type": self.kind,
            "object": "realtime.session",
            "model": model,
            "instructions": self.instructions,
            "output_modalities": ["text"],
            "max_output_tokens": self.max_tokens,
            "temperature": 0.0 if self.temperature is None else self.temperature,
            "tools": [],
            "tool_choice": "none",
            "audio": {"input": sound},
        }


class _Format(Body):
    type: Literal["audio/pcm"] = "audio/pcm"
    rate: Literal[16000, 24000] = 24000


class _Transcription(Body):
    model: str | None = None
    language: Annotated[str | None, Field(max_length=64)] = None
    prompt: Annotated[str | None, Field(max_length=0)] = None  # the models here take no hints


class _Detection(Body):
    type: Literal["server_vad"]
    threshold: Annotated[float | None, Field(ge=0.5, le=0.5)] = None  # the detectors have no other
    prefix_padding_ms: Annotated[int, Field(ge=0, le=5000)] = Detection.padding_ms
    silence_duration_ms: Annotated[int, Field(ge=100, le=60_000)] = Detection.silence_ms
    create_response: bool | None = None
    interrupt_response: bool | None = None
    idle_timeout_ms: None = None


class _Input(Body):
    format: _Format | None = None
    transcription: _Transcription | None = None
    turn_detection: _Detection | None = None
    noise_reduction: None = None


class _Sound(Body):
    input: _Input | None = None


def _count(value: Any) -> int | str | None:
    if value is None or value == "inf" or (type(value) is int and value >= 1):
        return cast("int | str | None", value)
    raise ValueError(f'it must be a whole number from 1 on, or "inf", and is {str(value)[:40]!r}')


class _Update(Body):
    type: Kind | None = None
    model: str | None = None
    instructions: Annotated[str | None, Field(max_length=MAX_INSTRUCTIONS)] = None
    output_modalities: list[Literal["text"]] | None = None
    max_output_tokens: Annotated[Any, AfterValidator(_count)] = None
    temperature: Temperature | None = None
    audio: _Sound | None = None
    # As the beta had it.
    modalities: list[Literal["text"]] | None = None
    input_audio_format: Literal["pcm16"] | None = None
    input_audio_transcription: _Transcription | None = None
    turn_detection: _Detection | None = None
    # Only with the values at which they do nothing: we have no such thing.
    tools: Annotated[list[Any] | None, Field(max_length=0)] = None
    tool_choice: Literal["none", "auto"] | None = None
    include: Annotated[list[Any] | None, Field(max_length=0)] = None
    tracing: None = None
    prompt: None = None


def read_update(session: object, config: Config, settings: Settings) -> Config:
    """The config that `session.update` asks for.

    Raises:
        ApiError: 400 for what is malformed or not to be had here, 404 for another model.
    """
    try:
        update = _Update.model_validate(session)
    except ValidationError as error:
        raise invalid([{**one, "loc": ("session", *one["loc"])} for one in error.errors()]) from error
    _check_model(update.model, "session.model", settings)
    changed = _with_answers(config, update, settings)
    flat = {
        new: getattr(update, old)
        for old, new in (("input_audio_transcription", "transcription"), ("turn_detection", "turn_detection"))
        if old in update.model_fields_set
    }
    if update.input_audio_format is not None:
        flat["format"] = _Format()
    sound = update.audio.input if update.audio is not None else None
    nested = {name: getattr(sound, name) for name in sound.model_fields_set} if sound is not None else {}
    return _with_sound(changed, flat | nested, settings)


def _with_answers(config: Config, update: _Update, settings: Settings) -> Config:
    changes: dict[str, Any] = {}
    if update.type is not None:
        changes["kind"] = update.type
    if update.instructions is not None:
        if not update.instructions.strip():
            raise ApiError(
                400, "session.instructions is empty: say what to do with what is said", param="session.instructions"
            )
        changes["instructions"] = update.instructions
    limit = update.max_output_tokens
    if isinstance(limit, int) and limit > settings.max_tokens:
        raise ApiError(
            400,
            f"max_output_tokens is {limit} and at most {settings.max_tokens} are given here",
            param="session.max_output_tokens",
        )
    if limit is not None:
        changes["max_tokens"] = limit
    if update.temperature is not None:
        changes["temperature"] = update.temperature
    return replace(config, **changes)


def _with_sound(config: Config, given: dict[str, Any], settings: Settings) -> Config:
    """`given`: what stands under `audio.input`; None turns transcription or detection off."""
    if given.get("format") is not None:
        config = replace(config, rate=given["format"].rate)
    if "transcription" in given:
        transcription = given["transcription"]
        config = replace(config, transcribes=transcription is not None)
        if transcription is not None:
            _check_model(transcription.model, "session.audio.input.transcription.model", settings)
            if transcription.language is not None:
                language_name(transcription.language)
                config = replace(config, language=transcription.language)
    if "turn_detection" in given:
        wanted = given["turn_detection"]
        config = replace(config, detection=None if wanted is None else _detection(wanted))
    return config


def _detection(wanted: _Detection) -> Detection:
    return Detection(
        silence_ms=wanted.silence_duration_ms,
        padding_ms=wanted.prefix_padding_ms,
        answers=wanted.create_response is not False,
        interrupts=wanted.interrupt_response is not False,
    )


def _check_model(name: str | None, param: str, settings: Settings) -> None:
    if name is not None and name != settings.model:
        raise ApiError(404, f"{param} is {name[:80]!r}; this server has {settings.model!r}", param=param)
