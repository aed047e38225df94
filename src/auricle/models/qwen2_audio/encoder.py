"""Qwen2-Audio's encoder: mel frames in, one vector for every 40 ms out.

What is unusual:
- It is Whisper's: two convolutions (the second halves the rate to 20 ms), stored positions, blocks whose norms stand
  before attention and MLP. Every position attends to all others of its clip, so nothing can be computed before it ends.
- The reference fills a clip to 30 s and hides the filling from attention. What isn't seen needn't be computed: here a
  clip has as many positions as its sound. Of clips in a batch, the longest sets them, and the others' ends are hidden.
- Behind the blocks, pairs of positions are averaged (not skipped), and then normed: 40 ms.
- Keys have no bias. In float16, what leaves a block is clipped to what float16 holds.

Layout: transformers 5.23, `models/qwen2_audio/modeling_qwen2_audio.py`. Module names are the checkpoint's.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auricle.layers.linear import Linear, products
from auricle.models.qwen2_audio.config import AudioConfig
from auricle.models.qwen2_audio.features import AFTER, positions, tokens
from auricle.models.taken import Taken

HIGHEST = torch.finfo(torch.float16).max - 1000  # of what leaves a block in float16: see the reference


class Attention(nn.Module):
    """From every position to all of its clip."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        width = config.d_model
        self.heads = config.encoder_attention_heads
        self.q_proj = Linear(width, width, bias=True)
        self.k_proj = Linear(width, width)
        self.v_proj = Linear(width, width, bias=True)
        self.out_proj = Linear(width, width, bias=True)

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        """`(batch, positions, width)` -> the same; `seen` is `(batch, 1, 1, positions)`, None where all are."""
        q, k, v = (
            part.unflatten(2, (self.heads, -1)).transpose(1, 2)
            for part in products(x, (self.q_proj, self.k_proj, self.v_proj))
        )
        out = F.scaled_dot_product_attention(q, k, v, attn_mask=seen)
        return self.out_proj(out.transpose(1, 2).flatten(2))


class Block(nn.Module):
    """Attention and MLP, each with a norm before it."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.self_attn = Attention(config)
        self.self_attn_layer_norm = nn.LayerNorm(config.d_model)
        self.fc1 = Linear(config.d_model, config.encoder_ffn_dim, bias=True)
        self.fc2 = Linear(config.encoder_ffn_dim, config.d_model, bias=True)
        self.final_layer_norm = nn.LayerNorm(config.d_model)

    def forward(self, x: Tensor, seen: Tensor | None) -> Tensor:
        x = x + self.self_attn(self.self_attn_layer_norm(x), seen)
        x = x + self.fc2(F.gelu(self.fc1(self.final_layer_norm(x))))
        return x.clamp(-HIGHEST, HIGHEST) if x.dtype == torch.float16 else x


class Encoder(nn.Module):
    """Convolutions, blocks, average pool, norm."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.conv1 = nn.Conv1d(config.num_mel_bins, config.d_model, kernel_size=3)
        self.conv2 = nn.Conv1d(config.d_model, config.d_model, kernel_size=3, stride=2)
        self.embed_positions = nn.Embedding(config.max_source_positions, config.d_model)
        self.layers = nn.ModuleList([Block(config) for _ in range(config.encoder_layers)])
        self.layer_norm = nn.LayerNorm(config.d_model)

    def forward(self, mel: Tensor, frames: Sequence[int]) -> Tensor:
        """What leaves the tower.

        Args:
            mel: `(batch, max(frames) + AFTER, mels)`, as `features.log_mel` gives each clip.
            frames: of each clip, those behind it not counted.

        Returns:
            `(batch, tokens, width)`, of each clip the first `tokens(frames)`.
        """
        x = self.blocks(self.embed(mel, frames), frames)
        x = F.avg_pool1d(x.transpose(1, 2), 2).transpose(1, 2)[:, : tokens(max(frames))]
        return self.layer_norm(x)

    def embed(self, mel: Tensor, frames: Sequence[int]) -> Tensor:
        """What the first block is given: `(batch, positions, width)`; arguments as for `forward`."""
        longest = max(frames)
        # The sound has zeros before it, and behind it what `log_mel` gives: so each convolution is padded on the left.
        x = F.gelu(self.conv1(F.pad(mel.transpose(1, 2), (1, 0))))[:, :, : longest + AFTER - 1]
        # The reference's second convolution meets zeros behind the longest clip, not what the first makes of them.
        x = x[:, :, : self.config.max_frames]
        x = F.pad(x, (1, longest + AFTER - 1 - x.shape[2]))
        x = F.gelu(self.conv2(x))[:, :, : positions(longest)]
        return x.transpose(1, 2) + self.embed_positions.weight[: x.shape[2]]

    def blocks(self, x: Tensor, frames: Sequence[int], taken: Taken | None = None) -> Tensor:
        """`(batch, positions, width)` -> the same; ends early when all of `taken` is taken."""
        seen = None
        if len(set(frames)) > 1:
            held = torch.tensor([positions(count) for count in frames], device=x.device)
            seen = (torch.arange(x.shape[1], device=x.device) < held[:, None])[:, None, None]
        for i, layer in enumerate(self.layers):
            if taken is not None and taken.add(i, x):
                return x
            x = layer(x, seen)
        if taken is not None:
            taken.add(len(self.layers), x)
        return x
