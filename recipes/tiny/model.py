"""The shape of `tiny`: the Gemma 4 architecture at a size that two cores can train and 16 MB can hold."""

from __future__ import annotations

import torch
from torch import Tensor, nn

from auricle.models.gemma4.config import FULL, SLIDING, AudioConfig, Gemma4Config, RopeConfig, TextConfig
from auricle.models.gemma4.encoder import Encoder
from auricle.models.gemma4.model import Gemma4

AUDIO = AudioConfig(
    hidden_size=192,
    num_hidden_layers=6,
    num_attention_heads=4,
    output_proj_dims=192,
    use_clipped_linears=False,
)


def text_config(vocab_size: int) -> TextConfig:
    """The decoder: no layer shares keys and values, a model this small needs every one of them to find the words."""
    return TextConfig(
        vocab_size=vocab_size,
        vocab_size_per_layer_input=vocab_size,
        hidden_size=192,
        hidden_size_per_layer_input=16,
        intermediate_size=512,
        num_hidden_layers=4,
        num_attention_heads=4,
        num_key_value_heads=1,
        head_dim=48,
        global_head_dim=64,
        layer_types=(SLIDING, FULL, SLIDING, FULL),
        sliding_window=512,
        rope_full=RopeConfig(rope_theta=10_000.0, rope_type="proportional", partial_rotary_factor=0.25),
        final_logit_softcapping=30.0,
        max_position_embeddings=8192,
    )


def initialise(model: nn.Module, seed: int) -> None:
    """Fills the matrices: normal, with the variance that keeps activations' size (1 / inputs)."""
    generator = torch.Generator().manual_seed(seed)
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            if name.endswith("bias"):
                nn.init.zeros_(parameter)
            continue
        with torch.no_grad():
            parameter.copy_(torch.randn(parameter.shape, generator=generator) * parameter[0].numel() ** -0.5)


def config(vocab_size: int) -> Gemma4Config:
    """The whole model; ids of the audio tokens are those of `recipes.tiny.tokenizer.SPECIAL`."""
    return Gemma4Config(text_config(vocab_size), AUDIO, audio_token_id=7, boa_token_id=6, eoa_token_id=8)


def new_decoder(vocab_size: int, seed: int) -> Gemma4:
    """A model to be trained: its encoder is filled from stage 1."""
    model = Gemma4(config(vocab_size))
    initialise(model, seed)
    for layer in model.language_model.layers:
        # Attention's scale is 1 and queries and keys are normed: at a weight of 1 it would start far too sharp.
        nn.init.constant_(layer.self_attn.q_norm.weight, 0.35)
    return model


class Hearing(nn.Module):
    """Encoder and projector, with the heads of the auxiliary losses that are left behind after training.

    Each token says which phoneme is sounding, which word was last completed and the two before it, and what kind of
    sound it is: so a decoder finds "the word after the one I just wrote" by looking up one key.
    """

    def __init__(self, phonemes: int, words: int, kinds: int, seed: int = 0) -> None:
        super().__init__()
        self.encoder = Encoder(AUDIO)
        self.projection = nn.Linear(AUDIO.output_proj_dims, 192, bias=False)
        self.heads = nn.ModuleDict(
            {
                "phoneme": nn.Linear(192, phonemes),
                "word": nn.Linear(192, words),
                "before": nn.Linear(192, words),
                "before2": nn.Linear(192, words),
                "kind": nn.Linear(192, kinds),
            }
        )
        initialise(self, seed)

    def soft_tokens(self, mel: Tensor) -> Tensor:
        """`(batch, frames, mels)` -> `(batch, tokens, 192)`, as `embed_audio` gives them to the decoder."""
        x = self.encoder(mel)
        x = x * torch.rsqrt(x.float().square().mean(-1, keepdim=True) + AUDIO.rms_norm_eps)
        return self.projection(x)
