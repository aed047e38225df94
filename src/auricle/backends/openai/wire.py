"""What is sent to a server: messages, sounds as WAV, sampling and constraints, in OpenAI's words and vLLM's."""

from __future__ import annotations

import base64
import io
import json
import wave
from collections.abc import Iterator
from typing import Any

import numpy as np

from auricle.types import Ask, Audio, Message, Sampling


def body(model: str, ask: Ask) -> dict[str, Any]:
    """A request, as arguments of `client.chat.completions.create`.

    What OpenAI's own interface does not have goes into `extra_body`, and only when it is asked for: some servers refuse
    words that they don't know.
    """
    sampling = ask.sampling
    sent: dict[str, Any] = {
        "model": model,
        "messages": [_message(message) for message in ask.messages],
        "stream": True,
        "stream_options": {"include_usage": True},
        "max_tokens": sampling.max_tokens,
        "temperature": sampling.temperature,
        "top_p": sampling.top_p,
        "seed": sampling.seed,
    }
    if sampling.stop:
        sent["stop"] = list(sampling.stop)
    if sampling.json_schema is not None:
        schema = {"name": "answer", "schema": _schema(str(sampling.json_schema)), "strict": True}
        sent["response_format"] = {"type": "json_schema", "json_schema": schema}
    if extra := dict(_extra(sampling)):
        sent["extra_body"] = extra
    return sent


def clips_of(ask: Ask) -> list[Audio]:
    """The clips of a request, in the order of its messages."""
    return [part for message in ask.messages for part in message.parts if isinstance(part, Audio)]


def clipped(clip: Audio) -> bool:
    """Whether a sound goes beyond what 16 bits hold, as resampling may do."""
    return float(np.abs(clip.samples).max(initial=0.0)) > 1


def wav(clip: Audio) -> bytes:
    """16-bit PCM, mono, at the clip's rate; what is beyond [-1, 1] is clipped."""
    samples = np.clip(np.rint(clip.samples * 32768), -32768, 32767).astype("<i2")
    file = io.BytesIO()
    with wave.open(file, "wb") as written:
        written.setnchannels(1)
        written.setsampwidth(2)
        written.setframerate(clip.rate)
        written.writeframes(samples.tobytes())
    return file.getvalue()


def _message(message: Message) -> dict[str, Any]:
    """Text alone is sent as a string, which every server takes for every role."""
    if len(message.parts) == 1 and isinstance(message.parts[0], str):
        return {"role": message.role, "content": message.parts[0]}
    return {"role": message.role, "content": [_part(part) for part in message.parts]}


def _part(part: str | Audio) -> dict[str, Any]:
    if isinstance(part, str):
        return {"type": "text", "text": part}
    data = base64.b64encode(wav(part)).decode("ascii")
    return {"type": "input_audio", "input_audio": {"data": data, "format": "wav"}}


def _extra(sampling: Sampling) -> Iterator[tuple[str, Any]]:
    """https://docs.vllm.ai/en/latest/features/structured_outputs/ on `structured_outputs`."""
    if sampling.top_k:
        yield "top_k", sampling.top_k
    if sampling.min_p:
        yield "min_p", sampling.min_p
    if sampling.repetition_penalty != 1:
        yield "repetition_penalty", sampling.repetition_penalty
    if sampling.choices:
        yield "structured_outputs", {"choice": list(sampling.choices)}
    if sampling.regex is not None:
        yield "structured_outputs", {"regex": sampling.regex}


def _schema(text: str) -> dict[str, Any]:
    """A schema as an object: OpenAI's interface has none of the two that are `true` and `false`."""
    schema: dict[str, Any] | bool = json.loads(text)
    if isinstance(schema, bool):
        return {} if schema else {"not": {}}
    return schema
