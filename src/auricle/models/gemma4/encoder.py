"""Gemma 4's audio encoder: log-mel frames in, audio tokens out, one token for every 40 ms.

What is unusual:
- Causal but for one frame: attention and convolutions look only back; each of the two stride-2 convolutions looks one
  input frame ahead. So the encoder can stream exactly: token p is final once mel frame 4p + 3 is there. What it has to
  remember for that is an `EncoderState`, of the same size however long the clip; a whole clip is the same pass with
  nothing before it.
- Attention is local, in chunks of 12: a query sees itself and the 11 tokens before it (the reference's mask; the
  chunk's keys reach 12 back). Its logits are soft-capped at 50 and computed in float32, with a finite mask value:
  -1e9 in float16 would be -inf and a fully masked row NaN.
- Relative positions enter as a second product, queries times projected sinusoids (Transformer-XL, arXiv:1901.02860).
- Every linear of the conformer clips its input and output to ranges stored in the checkpoint, one pair for each of
  q, k and v.

Layout and constants: transformers 5.23, `models/gemma4/modeling_gemma4.py`. Module names are the checkpoint's.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from auricle.layers.linear import Linear, clipped
from auricle.layers.norms import RMSNorm
from auricle.models.gemma4.config import AudioConfig
from auricle.models.taken import Taken

FRAMES = 4  # of mel, that become one token
LOOKBACK = 3  # frames before a token's own that reach it through the two convolutions


@dataclass
class LayerState:
    """What a conformer layer needs of the tokens before the next ones; None before the first."""

    keys: Tensor | None = None  # (batch, past_context, heads, head_dim), float32, zeros where nothing was
    values: Tensor | None = None
    convolved: Tensor | None = None  # (batch, conv_kernel_size - 1, hidden): what went into the convolution


@dataclass
class EncoderState:
    """What the encoder needs of the beginning of a clip to go on with it."""

    layers: list[LayerState]
    frames: Tensor | None = None  # (batch, LOOKBACK, mels)
    tokens: int = 0  # given so far

    @classmethod
    def of(cls, config: AudioConfig) -> EncoderState:
        """That of a clip not yet begun."""
        return cls([LayerState() for _ in range(config.num_hidden_layers)])


class ClippedLinear(nn.Module):
    """A linear that clips what goes in and what comes out; without `use_clipped_linears` it clips nothing."""

    input_min: Tensor
    input_max: Tensor
    output_min: Tensor
    output_max: Tensor

    def __init__(self, config: AudioConfig, in_features: int, out_features: int) -> None:
        super().__init__()
        self.linear = Linear(in_features, out_features)
        self.clips = config.use_clipped_linears
        if self.clips:
            for name, bound in (("min", -math.inf), ("max", math.inf)):
                self.register_buffer(f"input_{name}", torch.tensor(bound))
                self.register_buffer(f"output_{name}", torch.tensor(bound))

    def forward(self, x: Tensor) -> Tensor:
        if not self.clips:
            return self.linear(x)
        if x.device.type == "cpu":  # where reading numbers is free, and clipping to tensors takes 9 times longer
            ranges = ((self.input_min.item(), self.input_max.item()), (self.output_min.item(), self.output_max.item()))
            return clipped(x, self.linear, *ranges)
        return self.linear(x.clamp(self.input_min, self.input_max)).clamp(self.output_min, self.output_max)


class SubsampleLayer(nn.Module):
    """A 3x3 convolution of stride 2 over (frames, frequencies), LayerNorm over channels, ReLU.

    Frequencies are padded by one on either side as in the reference; frames are padded by `Subsample`, which knows what
    stands before them.
    """

    def __init__(self, in_channels: int, out_channels: int, eps: float) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, out_channels, kernel_size=3, stride=2, padding=(0, 1), bias=False)
        self.norm = nn.LayerNorm(out_channels, eps=eps, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        """`(batch, channels, 2 n + 1, frequencies)` -> `(batch, out_channels, n, frequencies / 2)`."""
        # Channels last: the norm then reads contiguous memory, and the second convolution runs twice as fast on a CPU.
        x = self.conv(x.contiguous(memory_format=torch.channels_last))
        return F.relu(self.norm(x.permute(0, 2, 3, 1))).permute(0, 3, 1, 2)


class Subsample(nn.Module):
    """Four frames become one token."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        first, second = config.subsampling_conv_channels
        self.layer0 = SubsampleLayer(1, first, config.rms_norm_eps)
        self.layer1 = SubsampleLayer(first, second, config.rms_norm_eps)
        self.input_proj_linear = Linear(first // 4 * second, config.hidden_size)

    def forward(self, mel: Tensor, frames: Tensor | None, state: EncoderState | None = None) -> Tensor:
        """`(batch, frames, mels)` -> `(batch, tokens, hidden)`.

        Frames past a clip's own (`frames`, `(batch,)`) count as zeros, also within the last token. With a state the
        frames go on where those before ended: these must have been a multiple of four.
        """
        given = mel.shape[1]
        if frames is not None:
            mel = mel * _valid(frames, given)[..., None].to(mel.dtype)
        before = None if state is None else state.frames
        mel = F.pad(mel, (0, 0, LOOKBACK, 0)) if before is None else torch.cat([before, mel], dim=1)
        if state is not None:
            state.frames = mel[:, -LOOKBACK:].clone()  # a view would keep all of it in memory
        x = F.pad(mel, (0, 0, 0, -given % FRAMES))
        # One channel, and that last in memory from the beginning.
        x = self.layer0(x.unsqueeze(-1).permute(0, 3, 1, 2))
        # The first layer's outputs that stand past the end are zeros, not what it makes of the last frame and padding.
        if frames is not None:
            x = x * _valid((frames + LOOKBACK) // 2, x.shape[2])[:, None, :, None].to(x.dtype)
        elif given % FRAMES:
            x = F.pad(x[:, :, : (given + LOOKBACK) // 2], (0, 0, 0, x.shape[2] - (given + LOOKBACK) // 2))
        x = self.layer1(x)
        return self.input_proj_linear(x.permute(0, 2, 3, 1).flatten(2))  # flattened as (frequency, channel)


class FeedForward(nn.Module):
    """A half-step: its output counts `residual_weight`."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.ffw_layer_1 = ClippedLinear(config, config.hidden_size, 4 * config.hidden_size)
        self.ffw_layer_2 = ClippedLinear(config, 4 * config.hidden_size, config.hidden_size)
        self.pre_layer_norm = RMSNorm(config.hidden_size)
        self.post_layer_norm = RMSNorm(config.hidden_size)
        self.limit = config.gradient_clipping
        self.weight = config.residual_weight

    def forward(self, x: Tensor) -> Tensor:
        h = self.pre_layer_norm(_clip(x, self.limit))
        h = self.ffw_layer_2(F.silu(self.ffw_layer_1(h)))
        return x + self.post_layer_norm(_clip(h, self.limit)) * self.weight


class Attention(nn.Module):
    """Chunked local attention with relative positions."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        width = config.hidden_size
        self.q_proj = ClippedLinear(config, width, width)
        self.k_proj = ClippedLinear(config, width, width)
        self.v_proj = ClippedLinear(config, width, width)
        self.post = ClippedLinear(config, width, width)
        self.relative_k_proj = Linear(width, width)
        self.per_dim_scale = nn.Parameter(torch.zeros(config.head_dim))

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor, state: LayerState | None = None) -> Tensor:
        """Attends within chunks.

        Args:
            x: `(batch, tokens, hidden)`.
            positions: `(distances, hidden)`, sinusoids of the distances 12, 11, ... 0.
            mask: `(chunks, chunk, context)`, or with a leading batch, true where a query may look.
            state: holds the keys and values of the tokens before, and takes up those of x.
        """
        config = self.config
        batch, tokens, _ = x.shape
        heads = (batch, tokens, config.num_attention_heads, config.head_dim)
        # Softplus and the base-2 constants are the reference's way to keep per-dimension scales positive.
        scale = F.softplus(self.per_dim_scale.float()) * (config.head_dim**-0.5 / math.log(2))
        q = self.q_proj(x).float().view(heads) * scale
        k = self.k_proj(x).float().view(heads) * (math.log(1 + math.e) / math.log(2))
        v = self.v_proj(x).float().view(heads)

        past = config.past_context
        k = _after(k, past, None if state is None else state.keys)
        v = _after(v, past, None if state is None else state.values)
        if state is not None:
            state.keys, state.values = k[:, -past:].clone(), v[:, -past:].clone()
        q = self._chunks(q)  # (batch, heads, chunks, chunk, dim)
        k, v = self._contexts(k), self._contexts(v)  # (batch, heads, chunks, context, dim)
        relative = self.relative_k_proj(positions).float().view(-1, *heads[2:]).permute(1, 2, 0)  # (heads, dim, dists)
        logits = q @ k.transpose(-1, -2) + self._shift(q @ relative[None, :, None])
        logits = torch.tanh(logits / config.attention_logit_cap) * config.attention_logit_cap
        logits = logits.masked_fill(~mask, config.attention_invalid_logits_value)
        out = torch.softmax(logits, dim=-1) @ v
        out = out.permute(0, 2, 3, 1, 4).reshape(batch, -1, config.hidden_size)[:, :tokens]
        return self.post(out.to(x.dtype))

    def _chunks(self, x: Tensor) -> Tensor:
        """`(batch, tokens, heads, dim)` -> `(batch, heads, chunks, chunk, dim)`, padded to whole chunks."""
        size = self.config.attention_chunk_size
        x = F.pad(x, (0, 0, 0, 0, 0, -x.shape[1] % size))
        return x.unflatten(1, (-1, size)).permute(0, 3, 1, 2, 4)

    def _contexts(self, x: Tensor) -> Tensor:
        """`(batch, past + tokens, heads, dim)` -> `(batch, heads, chunks, context, dim)`: each chunk and its past."""
        size, past = self.config.attention_chunk_size, self.config.past_context
        x = F.pad(x, (0, 0, 0, 0, 0, (past - x.shape[1]) % size))
        return x.unfold(1, size + past, size).permute(0, 2, 1, 4, 3)

    def _shift(self, x: Tensor) -> Tensor:
        """Moves products by distance to their keys' places: `(..., chunk, distances)` -> `(..., chunk, context)`.

        Query i's distance d belongs to key i + past - d. Rows padded to one more than the context and read with rows
        of the context each slide by one: the trick of Transformer-XL's appendix B. What slides in is masked.
        """
        *lead, chunk, distances = x.shape
        context = chunk + self.config.past_context
        x = F.pad(x, (0, context + 1 - distances)).flatten(-2)
        return x[..., : chunk * context].view(*lead, chunk, context)


class LightConv(nn.Module):
    """A gated pointwise layer, a causal depthwise convolution over 5 tokens, a pointwise layer."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        width = config.hidden_size
        self.linear_start = ClippedLinear(config, width, 2 * width)
        self.linear_end = ClippedLinear(config, width, width)
        self.depthwise_conv1d = nn.Conv1d(width, width, config.conv_kernel_size, groups=width, bias=False)
        self.pre_layer_norm = RMSNorm(width, config.rms_norm_eps)
        self.conv_norm = RMSNorm(width, config.rms_norm_eps)
        self.limit = config.gradient_clipping

    def forward(self, x: Tensor, state: LayerState | None = None) -> Tensor:
        h = F.glu(self.linear_start(self.pre_layer_norm(x)), dim=-1)
        past = self.depthwise_conv1d.weight.shape[2] - 1
        h = _after(h, past, None if state is None else state.convolved)
        if state is not None:
            state.convolved = h[:, -past:].clone()
        return x + self.linear_end(F.silu(self.conv_norm(_clip(self._convolve(h), self.limit))))

    def _convolve(self, x: Tensor) -> Tensor:
        """Each channel over the token and those before it: `(batch, kernel - 1 + tokens, hidden)` -> one a token.

        As a picture one pixel wide whose channels are last, as they lie in memory: on a CPU, torch takes 6 (bfloat16)
        to 20 (float32) times as long to convolve them as rows.
        """
        weight = self.depthwise_conv1d.weight[..., None]  # (hidden, 1, kernel, 1)
        x = x[:, :, None].permute(0, 3, 1, 2)  # (batch, hidden, kernel - 1 + tokens, 1)
        return F.conv2d(x, weight, groups=len(weight))[..., 0].transpose(1, 2)


class ConformerLayer(nn.Module):
    """Feed-forward half-step, attention, convolution, feed-forward half-step, norm."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.feed_forward1 = FeedForward(config)
        self.feed_forward2 = FeedForward(config)
        self.self_attn = Attention(config)
        self.lconv1d = LightConv(config)
        self.norm_pre_attn = RMSNorm(config.hidden_size)
        self.norm_post_attn = RMSNorm(config.hidden_size)
        self.norm_out = RMSNorm(config.hidden_size)
        self.limit = config.gradient_clipping

    def forward(self, x: Tensor, positions: Tensor, mask: Tensor, state: LayerState | None = None) -> Tensor:
        x = self.feed_forward1(x)
        h = self.self_attn(self.norm_pre_attn(_clip(x, self.limit)), positions, mask, state)
        x = x + self.norm_post_attn(_clip(h, self.limit))
        x = self.feed_forward2(self.lconv1d(x, state))
        return self.norm_out(_clip(x, self.limit))


class Encoder(nn.Module):
    """The whole audio tower: subsampling, conformer layers, output projection."""

    def __init__(self, config: AudioConfig) -> None:
        super().__init__()
        self.config = config
        self.subsample_conv_projection = Subsample(config)
        self.layers = nn.ModuleList([ConformerLayer(config) for _ in range(config.num_hidden_layers)])
        self.output_proj = Linear(config.hidden_size, config.output_proj_dims, bias=True)

    def forward(self, mel: Tensor, frames: Tensor | None = None, state: EncoderState | None = None) -> Tensor:
        """Encodes a batch of clips, or the next stretch of clips that have begun.

        Args:
            mel: `(batch, frames, mels)`, shorter clips padded at the end.
            frames: `(batch,)`, each clip's own number of frames; None when no clip is padded.
            state: of clips that go on, all equally long so far; it is brought up to date. Only a last stretch may be of
                other than a multiple of four frames.

        Returns:
            `(batch, tokens, output_proj_dims)`; of a padded clip the first `ceil(frames / 4)` tokens are real, and
            equal to what the clip gives alone.
        """
        return self.output_proj(self.conform(self.subsample_conv_projection(mel, frames, state), state))

    def conform(self, x: Tensor, state: EncoderState | None = None, taken: Taken | None = None) -> Tensor:
        """The conformer layers: `(batch, tokens, hidden)` -> the same; ends early when all of `taken` is taken."""
        positions = _sinusoids(self.config, x)
        before = 0 if state is None else state.tokens
        mask = _chunk_mask(self.config, x.shape[1], before, x.device)
        for i, layer in enumerate(self.layers):
            if taken is not None and taken.add(i, x):
                return x
            x = layer(x, positions, mask, None if state is None else state.layers[i])
        if taken is not None:
            taken.add(len(self.layers), x)
        if state is not None:
            state.tokens += x.shape[1]
        return x


def _after(x: Tensor, count: int, before: Tensor | None) -> Tensor:
    """`(batch, tokens, ...)` with the `count` tokens that stood before it in front, or zeros where none did."""
    if before is None:
        before = x.new_zeros(x.shape[0], count, *x.shape[2:])
    return torch.cat([before, x], dim=1)


def _chunk_mask(config: AudioConfig, tokens: int, before: int, device: torch.device) -> Tensor:
    """`(chunks, chunk, context)`: true where a query may look; `before` tokens of the clip were read earlier.

    Padding needs no mask of its own: it stands after a clip's end, and no query looks ahead.
    """
    size, past = config.attention_chunk_size, config.past_context
    chunks = -(-tokens // size)
    query = torch.arange(size, device=device)[:, None]
    key = torch.arange(size + past, device=device)[None, :] - past
    start = before + size * torch.arange(chunks, device=device)[:, None, None]
    distance = query - key
    return (distance >= 0) & (distance < past) & (start + key >= 0)


def _sinusoids(config: AudioConfig, like: Tensor) -> Tensor:
    """`(distances, hidden)`: sines then cosines of the distances from `context // 2` down to 0."""
    timescales = config.hidden_size // 2
    step = math.log(10_000.0) / max(timescales - 1, 1)
    rates = torch.exp(torch.arange(timescales, device=like.device) * -step)
    context = config.attention_chunk_size + config.past_context
    angles = torch.arange(context // 2, -1, -1, device=like.device)[:, None] * rates
    return torch.cat([angles.sin(), angles.cos()], dim=-1).to(like.dtype)


def _valid(lengths: Tensor, size: int) -> Tensor:
    """`(batch, size)`: true before each length."""
    return torch.arange(size, device=lengths.device) < lengths[:, None]


def _clip(x: Tensor, limit: float) -> Tensor:
    """Keeps activations finite in float16; elsewhere the reference's limit of 1e10 is never met, and costs nothing."""
    limit = min(limit, torch.finfo(x.dtype).max)
    return x if limit >= 1e10 else x.clamp(-limit, limit)
