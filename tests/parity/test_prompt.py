"""The ids of a prompt against transformers' processor: its chat template, and its expansion of audio placeholders."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from auricle.checkpoint import Checkpoint
from auricle.models.gemma4.family import DEFAULT_TEMPLATE, Gemma4Family
from auricle.types import Audio, Message
from tests.checkpoints import make_checkpoint
from tests.parity.sounds import RATE, noise

# In the manner of released templates: macros, a namespace, system turns of their own, text that is a string or parts,
# a thinking switch, `raise_exception`, block tags on lines of their own.
OWN_TEMPLATE = """\
{%- macro written(message) -%}
    {%- if message['content'] is string -%}
        {{- message['content'] | trim -}}
    {%- else -%}
        {%- for part in message['content'] -%}
            {%- if part['type'] == 'text' -%}
                {{- part['text'] | trim -}}
            {%- elif part['type'] == 'audio' -%}
                {{- '<|audio|>' -}}
            {%- endif -%}
        {%- endfor -%}
    {%- endif -%}
{%- endmacro -%}
{{ bos_token }}
{%- set state = namespace(turns=0) -%}
{%- if enable_thinking is defined and enable_thinking %}
    {{- '<|turn>system\\nthink<turn|>\\n' }}
{%- endif %}
{% for message in messages %}
    {%- if message['role'] not in ['system', 'user', 'assistant'] %}
        {{ raise_exception('no such role') }}
    {%- endif %}
    {%- if state.turns > 99 %}{% break %}{% endif %}
    {%- set state.turns = state.turns + 1 %}
    {{- '<|turn>' + ('model' if message['role'] == 'assistant' else message['role']) + '\\n' }}
    {{- written(message) + '<turn|>\\n' -}}
{% endfor %}
{%- if add_generation_prompt %}
    {{- '<|turn>model\\n' }}
{%- endif %}
"""


def clip(samples: int) -> Audio:
    return Audio(noise(samples), RATE)


CONVERSATIONS = {
    "text first": [Message("user", ("What does the speaker say?", clip(16_000)))],
    "audio first": [Message("user", (clip(16_001), "What does the speaker say?"))],
    "audio between": [Message("user", ("Which is louder,", clip(161), "or", clip(800), "or", clip(801), "?"))],
    "audio alone": [Message("user", (clip(5_000),))],
    "text alone": [Message("user", ("Hello.",))],
    "spaces and lines": [Message("user", ("  What\n\ndoes it\tsay?  \n", clip(3_000)))],
    "not Latin": [Message("user", ("Was hört man? 音は何ですか 🎵", clip(3_000)))],
    "several turns": [
        Message("system", ("Be brief.",)),
        Message("user", ("What is this?", clip(9_000))),
        Message("assistant", ("A tone.",)),
        Message("user", ("And this?", clip(641), clip(100_000))),
    ],
}


@pytest.fixture(scope="session", params=["default template", "own template"])
def sides(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Gemma4Family, Any]:
    """Our family and transformers' processor of one folder."""
    folder = make_checkpoint(tmp_path_factory.mktemp("prompt"))
    template = DEFAULT_TEMPLATE
    if request.param == "own template":
        template = OWN_TEMPLATE
        (folder / "chat_template.jinja").write_text(template)
    return Gemma4Family(Checkpoint(folder)), processor(folder, template)


def processor(folder: Path, template: str) -> Any:
    from transformers import Gemma4AudioFeatureExtractor, Gemma4Processor, PreTrainedTokenizerFast

    class AudioProcessor(Gemma4Processor):
        def check_argument_for_proper_class(self, *_: Any) -> None:
            """Lets the processors of images and video be absent: they would need torchvision."""

    tokenizer = PreTrainedTokenizerFast.from_pretrained(
        folder,
        extra_special_tokens={
            "audio_token": "<|audio|>",
            "boa_token": "<|audio>",
            "eoa_token": "<audio|>",
            "image_token": "<|image|>",
            "boi_token": "<|image>",
            "eoi_token": "<image|>",
        },
    )
    return AudioProcessor(Gemma4AudioFeatureExtractor(), None, tokenizer, None, chat_template=template)


def their_ids(processor: Any, messages: list[Message]) -> list[int]:
    conversation = [
        {
            "role": message.role,
            "content": [
                {"type": "audio", "audio": part.samples} if isinstance(part, Audio) else {"type": "text", "text": part}
                for part in message.parts
            ],
        }
        for message in messages
    ]
    inputs = processor.apply_chat_template(
        conversation, add_generation_prompt=True, tokenize=True, return_dict=True, enable_thinking=False
    )
    return list(inputs["input_ids"][0])


def our_ids(family: Gemma4Family, messages: list[Message]) -> list[int]:
    sounds = [part for message in messages for part in message.parts if isinstance(part, Audio)]
    return family.prompt(messages, [family.audio_tokens(len(sound.samples)) for sound in sounds]).ids


@pytest.mark.parametrize("name", CONVERSATIONS)
def test_the_same_ids(sides: tuple[Gemma4Family, Any], name: str) -> None:
    family, theirs = sides
    ids = our_ids(family, CONVERSATIONS[name])
    assert ids == their_ids(theirs, CONVERSATIONS[name])
    assert ids.count(family.config.text.bos_token_id) == 1
