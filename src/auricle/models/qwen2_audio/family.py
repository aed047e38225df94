"""Qwen2-Audio for the engine: a checkpoint's files become features, prompt and model.

The base model goes on from what it is given: its prompt is the parts of all messages as they stand, the sound framed by
two control tokens. Instruct is asked in ChatML, and numbers the clips of a conversation: `Audio 1: ...`. Which of the
two a checkpoint is shows in the tokens that end its answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError, PromptError
from auricle.layers import native
from auricle.layers.packing import read_packing
from auricle.models.family import Part, Prompt
from auricle.models.program import ProgramCache
from auricle.models.prompting import prompt_of
from auricle.models.qwen2_audio.config import Qwen2AudioConfig
from auricle.models.qwen2_audio.decoder import Cache
from auricle.models.qwen2_audio.features import (
    AFTER,
    FeatureConfig,
    check_length,
    feature_settings,
    log_mel,
    positions,
    tokens,
)
from auricle.models.qwen2_audio.model import outline
from auricle.models.qwen2_audio.program import decoder_program, missing, program_cache
from auricle.models.stretch import Stretch
from auricle.models.taken import Taken
from auricle.models.text import ChatTemplate, TextCodec
from auricle.models.weights import load_weights
from auricle.types import Message, Order, StageShape

BEGIN, AUDIO, END = "<|audio_bos|>", "<|AUDIO|>", "<|audio_eos|>"
TURN_END = "<|im_end|>"

BASE_TEMPLATE = f"""\
{{% for message in messages %}}
{{%- for part in message.content %}}
{{{{- '{BEGIN}{AUDIO}{END}' if part.type == 'audio' else part.text }}}}
{{%- endfor %}}
{{%- endfor %}}"""

# What the reference's processor falls back on; the released files have the same, or none that knows of audio.
INSTRUCT_TEMPLATE = f"""\
{{% set clips = namespace(count=0) %}}
{{%- for message in messages %}}
{{%- if loop.first and message.role != 'system' %}}
{{{{- '<|im_start|>system\\nYou are a helpful assistant.{TURN_END}\\n' }}}}
{{%- endif %}}
{{{{- '<|im_start|>' + message.role + '\\n' }}}}
{{%- for part in message.content %}}
{{%- if part.type == 'audio' %}}
{{%- set clips.count = clips.count + 1 %}}
{{{{- 'Audio ' ~ clips.count ~ ': {BEGIN}{AUDIO}{END}\\n' }}}}
{{%- else %}}
{{{{- part.text }}}}
{{%- endif %}}
{{%- endfor %}}
{{{{- '{TURN_END}\\n' }}}}
{{%- endfor %}}
{{{{- '<|im_start|>assistant\\n' if add_generation_prompt }}}}"""


class Qwen2AudioFamily:
    """See `models.family.Family`."""

    hears = True
    order: Order = "audio-first"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.config = Qwen2AudioConfig.from_dict(checkpoint.config)
        self.feature_config = FeatureConfig.from_dict(feature_settings(checkpoint))
        self._require_fitting_features()
        self.codec = TextCodec(checkpoint)
        self._require_tokens(self.config.audio_token_index)
        self.rate = self.feature_config.sampling_rate
        self.max_clip_seconds = float(self.feature_config.chunk_length)
        self.context = self.config.text.max_position_embeddings
        self.placeholder, self.vocabulary = self.config.audio_token_index, self.config.text.vocab_size
        self.stop_ids, self.instruct = self._stop_ids()
        # The base model's tokenizer may come with a template, too; it was not trained on one.
        default = INSTRUCT_TEMPLATE if self.instruct else BASE_TEMPLATE
        self.template = ChatTemplate(checkpoint, default, lambda source: self.instruct and AUDIO in source)
        self.hidden_span: tuple[int, int] | None = None
        self.notes: tuple[str, ...] = ()
        self.packing = read_packing(checkpoint.config, checkpoint.folder)
        self.model = outline(self.config, self.packing)

    @property
    def stages(self) -> Mapping[str, StageShape]:
        text, audio, step_s = self.config.text, self.config.audio, 4 * self.feature_config.frame_s
        return {
            "encoder": StageShape(audio.encoder_layers, audio.d_model, step_s / 2),  # the tower averages pairs of these
            "tower": StageShape(0, audio.d_model, step_s),
            "projector": StageShape(0, text.hidden_size, step_s),
            "llm": StageShape(text.num_hidden_layers, text.hidden_size, step_s),
        }

    def load(self, device: torch.device, dtype: torch.dtype, *, encoder_only: bool = False) -> None:
        self.device, self.dtype = device, dtype
        load_weights(self.model, self.checkpoint, device, dtype, without=("language_model",) if encoder_only else ())
        if encoder_only:
            return
        against = missing(self.model.language_model)
        self._program = None if against is not None else decoder_program(self.model.language_model, self.placeholder)
        if (
            against is not None
            and self.packing is not None
            and native.takes(torch.empty(0, dtype=dtype, device=device))
        ):
            self.notes = (f"{self.checkpoint.folder} runs layer by layer, slower than it could: {against}",)

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in outline(self.config).parameters())

    def audio_tokens(self, samples: int) -> int:
        return self.feature_config.tokens(samples)

    def features(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        """`(frames + AFTER, mels)`: see `features.log_mel`."""
        return log_mel(samples, self.feature_config)

    def encode(self, features: NDArray[np.float32]) -> Tensor:
        mel = torch.from_numpy(features).to(self.device, self.dtype)
        encoded: Tensor = self.model.encode(mel[None], [len(features) - AFTER])[0]
        return encoded

    def hear_layers(self, features: Sequence[NDArray[np.float32]], stage: str, layers: Sequence[int]) -> list[Tensor]:
        mel = pad_sequence([torch.from_numpy(clip) for clip in features], batch_first=True)
        frames = [len(clip) - AFTER for clip in features]
        found = self.model.hear_layers(mel.to(self.device, self.dtype), frames, stage, layers)
        vectors = positions if stage == "encoder" else tokens
        return [rows[:, : vectors(count)] for rows, count in zip(found.unbind(1), frames, strict=True)]

    def check_clip(self, samples: int) -> None:
        check_length(samples, self.feature_config)

    def ear(self) -> None:
        """None: every position of a clip attends to all of it."""
        return None

    def prompt(self, messages: list[Message], tokens: list[int]) -> Prompt:
        return prompt_of(self.codec, self.template, messages, tokens, self.placeholder)

    def new_cache(self, *, observed: bool = False) -> Cache | ProgramCache:
        if self._program is None or observed:
            return Cache.of(self.config.text)
        return program_cache(self.model.language_model)

    def read(self, parts: Sequence[Part]) -> list[Tensor]:
        if isinstance(parts[0].cache, ProgramCache):
            assert self._program is not None, "its cache is a program's"
            return self._program.read(parts)
        hidden, wanted = self._run(parts), [part.wanted for part in parts]
        if not any(wanted):
            return list(hidden.new_empty(0, self.vocabulary, dtype=torch.float32).split(wanted))
        return list(self.model.language_model.logits(hidden).split(wanted))

    def read_layers(self, parts: Sequence[Part], layers: Sequence[int]) -> list[Tensor]:
        taken = Taken(layers)
        self._run(parts, taken)
        return list(taken.all()[:, 0].split([part.wanted for part in parts], dim=1))

    def _run(self, parts: Sequence[Part], taken: Taken | None = None) -> Tensor:
        """The decoder's modules over what requests read -> `(wanted, hidden)` of all of them."""
        decoder = self.model.language_model.model
        ids = torch.tensor([[id for part in parts for id in part.ids]], device=self.device)
        # A placeholder without sound, which a model may write, is looked up: it takes none of the others' audio.
        heard = torch.tensor([[part.audio is not None for part in parts for _ in part.ids]], device=self.device)
        audio = [part.audio for part in parts if part.audio is not None]
        x = decoder.embed(ids, (ids == self.placeholder) & heard, torch.cat(audio) if audio else None)
        stretches = [Stretch(part.cache, len(part.ids), part.wanted) for part in parts]
        hidden: Tensor = decoder(x, stretches, taken)[0]
        return hidden

    def _require_fitting_features(self) -> None:
        features, audio = self.feature_config, self.config.audio
        frames = features.frames(features.max_samples)
        if features.feature_size != audio.num_mel_bins or frames != audio.max_frames:
            raise CheckpointError(
                f"{self.checkpoint.folder}: the feature extractor gives {frames} frames of {features.feature_size} "
                f"mels, and the encoder takes {audio.max_frames} of {audio.num_mel_bins}: they don't belong together"
            )

    def _require_tokens(self, id: int) -> None:
        """The placeholder and the frame around it: what the tokenizer lacks of them is an error."""
        lacking = next((frame for frame in (BEGIN, END) if self.codec.id(frame) is None), None)
        if self.codec.added(id) != AUDIO or lacking is not None:
            raise PromptError(
                f"the tokenizer of {self.checkpoint.folder} misses {lacking or f'audio token {id}'}, which it needs: "
                "fetch tokenizer.json of the same model"
            )

    def _stop_ids(self) -> tuple[frozenset[int], bool]:
        """What ends an answer, and whether the end of a turn does: from generation_config.json, or config.json."""
        settings = self.checkpoint.json("generation_config.json")
        text = self.checkpoint.config.get("text_config") or {}
        stops = settings.get("eos_token_id") or text.get("eos_token_id") or self.codec.id("<|endoftext|>")
        ids = frozenset(stops if isinstance(stops, list) else [] if stops is None else [stops])
        return ids, self.codec.id(TURN_END) in ids
