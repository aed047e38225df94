"""Gemma 4 for the engine: a checkpoint's files become features, prompt and model."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor
from torch.nn.utils.rnn import pad_sequence

from auricle.checkpoint import Checkpoint
from auricle.errors import PromptError, UnsupportedError
from auricle.layers import native
from auricle.layers.packing import read_packing
from auricle.models.family import Part, Prompt
from auricle.models.gemma4.config import Gemma4Config
from auricle.models.gemma4.decoder import Cache
from auricle.models.gemma4.ear import Ear
from auricle.models.gemma4.encoder import FRAMES
from auricle.models.gemma4.features import FeatureConfig, check_length, feature_settings, log_mel
from auricle.models.gemma4.graph import DecoderGraph
from auricle.models.gemma4.model import outline
from auricle.models.gemma4.program import decoder_program, missing, program_cache
from auricle.models.program import ProgramCache
from auricle.models.prompting import prompt_of
from auricle.models.stretch import Stretch
from auricle.models.taken import Taken
from auricle.models.text import ChatTemplate, TextCodec
from auricle.models.weights import load_weights
from auricle.types import Message, Order, StageShape

# For checkpoints without a template of their own. Audio stands inside the user's turn, where the user put it.
DEFAULT_TEMPLATE = """\
{{ bos_token or '<bos>' }}
{%- for message in messages %}
{{- '<|turn>' + ('model' if message.role == 'assistant' else message.role) + '\\n' }}
{%- for part in message.content %}
{{- '<|audio|>' if part.type == 'audio' else part.text | trim }}
{%- endfor %}
{{- '<turn|>\\n' }}
{%- endfor %}
{{- '<|turn>model\\n' if add_generation_prompt }}"""


class Gemma4Family:
    """See `models.family.Family`."""

    order: Order = "text-first"

    def __init__(self, checkpoint: Checkpoint) -> None:
        self.checkpoint = checkpoint
        self.config = Gemma4Config.from_dict(checkpoint.config)
        self.hears = self.config.audio is not None
        self.feature_config = FeatureConfig.from_dict(feature_settings(checkpoint))
        self.codec = TextCodec(checkpoint)
        self.template = ChatTemplate(checkpoint, DEFAULT_TEMPLATE)
        frame = (self.config.boa_token_id, self.config.eoa_token_id)
        if self.hears:
            self._required_token(self.config.audio_token_id)
            self._frame = self._required_token(frame[0]), self._required_token(frame[1])
        else:
            self._frame = ("", "")
        self.rate = self.feature_config.sampling_rate
        self.max_clip_seconds = self.feature_config.max_seconds
        self.context = self.config.text.max_position_embeddings
        self.stop_ids = self._stop_ids()
        self.placeholder, self.vocabulary = self.config.audio_token_id, self.config.text.vocab_size
        opening, closing = self.codec.id("<|channel>"), self.codec.id("<channel|>")
        self.hidden_span = (opening, closing) if opening is not None and closing is not None else None
        self.notes: tuple[str, ...] = ()
        self.packing = read_packing(checkpoint.config, checkpoint.folder)
        self.model = outline(self.config, self.packing)

    @property
    def stages(self) -> Mapping[str, StageShape]:
        text, audio = self.config.text, self.config.audio
        step_s = FRAMES * self.feature_config.hop_length / self.rate
        if audio is None:
            return {"llm": StageShape(text.num_hidden_layers, text.hidden_size, step_s)}
        return {
            "encoder": StageShape(audio.num_hidden_layers, audio.hidden_size, step_s),
            "tower": StageShape(0, audio.output_proj_dims, step_s),
            "projector": StageShape(0, text.hidden_size, step_s),
            "llm": StageShape(text.num_hidden_layers, text.hidden_size, step_s),
        }

    def load(self, device: torch.device, dtype: torch.dtype, *, encoder_only: bool = False) -> None:
        self.device, self.dtype = device, dtype
        load_weights(self.model, self.checkpoint, device, dtype, without=("language_model",) if encoder_only else ())
        if encoder_only:
            return
        decoder = self.model.language_model
        against = missing(decoder)
        self._program = decoder_program(decoder, self.placeholder) if against is None else None
        if (
            against is not None
            and self.packing is not None
            and native.takes(torch.empty(0, dtype=dtype, device=device))
        ):
            self.notes = (f"{self.checkpoint.folder} runs layer by layer, slower than it could: {against}",)
        self._graph = DecoderGraph(decoder) if device.type == "cuda" else None

    def parameters(self) -> int:
        return sum(parameter.numel() for parameter in outline(self.config).parameters())

    def audio_tokens(self, samples: int) -> int:
        return self.feature_config.tokens(samples)

    def features(self, samples: NDArray[np.float32]) -> NDArray[np.float32]:
        return log_mel(samples, self.feature_config)

    def encode(self, features: NDArray[np.float32]) -> Tensor:
        mel = torch.from_numpy(features).to(self.device, self.dtype)
        return self.model.encode(mel[None])[0]

    def hear_layers(self, features: Sequence[NDArray[np.float32]], stage: str, layers: Sequence[int]) -> list[Tensor]:
        mel = pad_sequence([torch.from_numpy(clip) for clip in features], batch_first=True)
        lengths = [len(clip) for clip in features]
        frames = torch.tensor(lengths, device=self.device) if len(set(lengths)) > 1 else None  # None: as in `encode`
        found = self.model.hear_layers(mel.to(self.device, self.dtype), frames, stage, layers)
        return [rows[:, : -(-length // FRAMES)] for rows, length in zip(found.unbind(1), lengths, strict=True)]

    def check_clip(self, samples: int) -> None:
        if not self.hears:
            raise UnsupportedError(
                f"{self.checkpoint.folder} has no audio tower (config.json has no audio_config): it can't hear; "
                "use an E2B or E4B checkpoint"
            )
        check_length(samples, self.feature_config)

    def ear(self) -> Ear | None:
        if not self.hears:
            return None
        return Ear(self.model, self.feature_config, self.device, self.dtype)

    def prompt(self, messages: list[Message], tokens: list[int]) -> Prompt:
        return prompt_of(
            self.codec, self.template, messages, tokens, self.placeholder, self._frame, enable_thinking=False
        )

    def new_cache(self, *, observed: bool = False) -> Cache | ProgramCache:
        if self._program is None or observed:
            return Cache(self.config.text)
        return program_cache(self.model.language_model)

    def read(self, parts: Sequence[Part]) -> list[Tensor]:
        decoder, placeholder = self.model.language_model, self.placeholder
        if isinstance(parts[0].cache, ProgramCache):
            assert self._program is not None, "its cache is a program's"
            return self._program.read(parts)
        if self._graph is not None and len(parts) == 1 and _is_step(parts[0]):
            return [self._graph.read(parts[0].ids[0], placeholder, parts[0].cache)]
        hidden = self._run(parts)
        wanted = [part.wanted for part in parts]
        logits = decoder.logits(hidden) if any(wanted) else hidden.new_empty(0, self.vocabulary, dtype=torch.float32)
        return list(logits.split(wanted))

    def read_layers(self, parts: Sequence[Part], layers: Sequence[int]) -> list[Tensor]:
        taken = Taken(layers)
        self._run(parts, taken)
        return list(taken.all()[:, 0].split([part.wanted for part in parts], dim=1))

    def _run(self, parts: Sequence[Part], taken: Taken | None = None) -> Tensor:
        """The decoder's modules over what requests read -> `(wanted, hidden)` of all of them."""
        decoder, placeholder = self.model.language_model, self.placeholder
        batch = torch.tensor([[id for part in parts for id in part.ids]], device=self.device)
        # A placeholder without sound, which a model may sample, is the pad token: it takes none of the others' audio.
        heard = torch.tensor([[part.audio is not None for part in parts for _ in part.ids]], device=self.device)
        batch = batch.masked_fill((batch == placeholder) & ~heard, self.config.text.pad_token_id)
        audio = [part.audio for part in parts if part.audio is not None]
        x = decoder.embed(batch, torch.cat(audio) if audio else None, placeholder)
        stretches = [Stretch(part.cache, len(part.ids), part.wanted) for part in parts]
        hidden: Tensor = decoder(x, decoder.per_layer_inputs(batch, x, placeholder), stretches, taken)[0]
        return hidden

    def _required_token(self, id: int) -> str:
        """How the tokenizer writes a token that frames audio; one that it lacks is an error."""
        token = self.codec.added(id)
        if token is None:
            raise PromptError(
                f"the tokenizer of {self.checkpoint.folder} misses audio token {id} that config.json names: "
                "fetch tokenizer.json of the same model"
            )
        return token

    def _stop_ids(self) -> frozenset[int]:
        """The ids of generation_config.json, or of config.json; and the end of a turn."""
        settings = self.checkpoint.json("generation_config.json")
        stops = settings.get("eos_token_id", self.checkpoint.config.get("text_config", {}).get("eos_token_id", 1))
        turn = self.codec.id("<turn|>")
        return frozenset([*(stops if isinstance(stops, list) else [stops]), *([turn] if turn is not None else [])])


def _is_step(part: Part) -> bool:
    """Whether it reads one token after others, as decoding does."""
    return len(part.ids) == 1 and part.audio is None and part.wanted == 1 and part.cache.length > 0
