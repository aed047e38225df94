"""What requests look like, in OpenAI's words; what we added says so. Unknown fields are refused, never passed over."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Discriminator, Field, Tag, WithJsonSchema

from auricle.types import Order, Stage


class Body(BaseModel):
    """A JSON object without unknown fields, whose numbers are numbers and whose strings are strings."""

    model_config = ConfigDict(extra="forbid", strict=True)


class InputAudio(Body):
    data: Annotated[str, Field(description="A file of any container and codec, in base64.")]
    format: Annotated[
        str | None, Field(max_length=32, description="As OpenAI wants it, such as wav; what the file is, is looked at.")
    ] = None


class AudioUrl(Body):
    url: Annotated[str, Field(description="data:...;base64,... or an address on a host that the server allows.")]


class TextPart(Body):
    type: Literal["text"]
    text: str


class AudioPart(Body):
    type: Literal["input_audio"]
    input_audio: InputAudio


class UrlPart(Body):
    type: Literal["audio_url"]
    audio_url: AudioUrl


class ImagePart(BaseModel):
    """Is read only to be refused by name."""

    model_config = ConfigDict(extra="allow")
    type: Literal["image_url", "input_image", "image"]


def _kind_of_part(part: Any) -> str | None:
    kind = part.get("type") if isinstance(part, dict) else getattr(part, "type", None)
    if isinstance(kind, str):
        return "image" if "image" in kind else kind
    return None


Part = Annotated[
    Annotated[TextPart, Tag("text")]
    | Annotated[AudioPart, Tag("input_audio")]
    | Annotated[UrlPart, Tag("audio_url")]
    | Annotated[ImagePart, Tag("image")],
    Discriminator(
        _kind_of_part,
        custom_error_type="part_type",
        custom_error_message="a part has a type: text, input_audio or audio_url",
    ),
]
Content = Annotated[
    Annotated[str, Tag("written")] | Annotated[list[Part], Field(min_length=1), Tag("parts")],
    Discriminator(
        lambda content: "written" if isinstance(content, str) else "parts" if isinstance(content, list) else None,
        custom_error_type="content_type",
        custom_error_message="content must be a string or a list of parts",
    ),
]


class ChatMessage(Body):
    role: Literal["system", "developer", "user", "assistant"]
    content: Content
    name: Annotated[str | None, Field(description="Taken, and not shown to the model.")] = None
    refusal: None = None  # as answers have it, so that one can be sent back


class JsonSchema(Body):
    name: str = "answer"
    description: str | None = None
    schema_: Annotated[dict[str, Any], Field(alias="schema")]
    strict: bool | None = None


class ResponseFormat(Body):
    type: Literal["text", "json_object", "json_schema"]
    json_schema: JsonSchema | None = None


SMALLEST = 1e-6  # of temperatures and shares: what is smaller is 0 or infinity where logits are divided by it


def _not_tiny(value: float) -> float:
    if 0 < value < SMALLEST:
        raise ValueError(f"{value:g} is too small: give 0, or at least {SMALLEST:g}")
    return value


def _not_kept(value: bool) -> bool:
    if value:
        raise ValueError("answers are not kept here: leave it out, or give false")
    return value


Temperature = Annotated[float, Field(ge=0, le=100), AfterValidator(_not_tiny)]
Stop = Annotated[str, Field(min_length=1, max_length=1000)]
Regex = Annotated[str, Field(max_length=10_000)]
Choices = Annotated[list[Annotated[str, Field(max_length=10_000)]], Field(min_length=1, max_length=10_000)]


class StructuredOutputs(Body):
    """As vLLM has it."""

    choice: Choices | None = None
    regex: Regex | None = None


class StreamOptions(Body):
    include_usage: bool = False
    include_obfuscation: bool | None = None


class ChatRequest(Body):
    model: str
    messages: Annotated[list[ChatMessage], Field(min_length=1)]
    stream: bool | None = False
    stream_options: StreamOptions | None = None
    max_tokens: Annotated[int | None, Field(ge=1)] = None
    max_completion_tokens: Annotated[int | None, Field(ge=1)] = None
    temperature: Annotated[Temperature | None, Field(description="0, the default, is greedy.")] = None
    top_p: Annotated[float | None, Field(ge=SMALLEST, le=1)] = None
    n: Annotated[int | None, Field(ge=1)] = None
    stop: Stop | Annotated[list[Stop], Field(max_length=16)] | None = None
    seed: Annotated[int | None, Field(ge=0, lt=2**63)] = None
    logprobs: bool | None = False
    top_logprobs: Annotated[int | None, Field(ge=0, le=20)] = None
    response_format: ResponseFormat | None = None
    # Ours: as in `auricle.Sampling` and `Ask`.
    choices: Annotated[Choices | None, Field(description="Ours: the answer is one of these.")] = None
    regex: Annotated[Regex | None, Field(description="Ours: the answer matches it as a whole.")] = None
    structured_outputs: Annotated[StructuredOutputs | None, Field(description="The same, as vLLM spells it.")] = None
    top_k: Annotated[int | None, Field(ge=0, lt=2**31, description="Ours: 0 keeps all tokens.")] = None
    min_p: Annotated[float | None, Field(ge=0, lt=1)] = None
    repetition_penalty: Annotated[float | None, Field(ge=0.01, le=100)] = None
    timeout_s: Annotated[float | None, Field(gt=0, le=1e6, description="Ours: until the answer must be done.")] = None
    # Taken because clients send them; they change nothing about an answer here.
    user: str | None = None
    safety_identifier: str | None = None
    prompt_cache_key: str | None = None
    metadata: dict[str, str] | None = None
    store: Annotated[bool, AfterValidator(_not_kept), WithJsonSchema({"const": False})] | None = None
    service_tier: Literal["auto", "default"] | None = None
    modalities: list[Literal["text"]] | None = None
    parallel_tool_calls: bool | None = None
    # Only with the values at which they do nothing: we have no such thing.
    frequency_penalty: Annotated[float | None, Field(ge=0, le=0)] = None
    presence_penalty: Annotated[float | None, Field(ge=0, le=0)] = None
    logit_bias: Annotated[dict[str, float] | None, Field(max_length=0)] = None
    tools: Annotated[list[Any] | None, Field(max_length=0)] = None
    tool_choice: Literal["none", "auto"] | None = None


Question = Annotated[str, Field(max_length=100_000)]


class SoundInput(Body):
    """A request about sounds and no text."""

    model: str
    input: Annotated[
        str | InputAudio | list[str | InputAudio],
        Field(description="A sound in base64, {data, format}, or a list of such."),
    ]
    user: str | None = None

    @property
    def sounds(self) -> list[str]:
        """Each in base64."""
        given = self.input if isinstance(self.input, list) else [self.input]
        return [one if isinstance(one, str) else one.data for one in given]


class EmbeddingRequest(SoundInput):
    encoding_format: Literal["float", "base64"] | None = None
    stage: Stage = "encoder"
    layers: str | int | list[int] = "-1"
    pooling: Annotated[str, Field(description="mean, max, last, none or window=SECONDS")] = "mean"
    prompt: Question | None = None
    order: Order | None = None
    overlap: Annotated[float, Field(ge=0, le=1e6)] = 5.0


class ClassificationRequest(SoundInput):
    labels: Annotated[
        list[Annotated[str, Field(max_length=1000)]] | None,
        Field(max_length=200, description="To choose from; a model with labels of its own needs none."),
    ] = None
    question: Question | None = None
    order: Order | None = None
