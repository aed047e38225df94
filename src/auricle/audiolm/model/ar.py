"""The half that predicts step by step: codebook 0, or in the delay pattern all of them.

What it reads is [prompt][start, step 0, step 1, ...]. The prompt is the sum of its codebooks' embeddings, and sees
itself in both directions; what follows sees the prompt and what is before it. Positions are the time of a frame: they
go on from the left side into the target (VALL-E's began again there), and beyond the gap into the right side.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.cache import Cache
from auricle.audiolm.model.config import AudioLMConfig
from auricle.audiolm.model.delay import delayed
from auricle.audiolm.model.layers import SinePosition, Table, Transformer, Wanted, linear, prenet, product_of, summed
from auricle.audiolm.model.losses import Score, score
from auricle.audiolm.model.masks import behind_mask, prefix_mask
from auricle.audiolm.model.packing import Packing
from auricle.errors import PromptError

_IGNORED = -1
_EMPTY = "a prompt is empty; a model with prepend_bos=False needs a frame or more to start from"


class Autoregressive(nn.Module):
    """The `ar_` part of an AudioLM; names are those of VALL-E's checkpoints."""

    config: AudioLMConfig

    def _build_ar(self, config: AudioLMConfig) -> None:
        width, size = config.d_model, config.codebook_size
        self.ar_audio_embedding = Table(size + 1 + int(config.prepend_bos), width)  # codes, end, BOS
        later = range(1, config.streams)
        self.ar_delay_embeddings = nn.ModuleDict({str(k): Table(config.start + 1, width) for k in later})
        shared = config.streams if config.share_embedding else 0  # of these the prompt looks up in the target's tables
        own = range(shared, config.num_quantizers)
        self.ar_prompt_embeddings = nn.ModuleDict({str(k): Table(size, width) for k in own})
        self.ar_part_embedding = nn.Embedding(3, width)
        self.ar_audio_prenet = prenet(width) if config.add_prenet else nn.Identity()
        if config.positions == "sine":
            self.ar_audio_position = SinePosition(width)
        self.ar_decoder = Transformer(
            width, config.nhead, config.num_layers, norm_first=config.norm_first, dropout=config.dropout
        )
        self.ar_predict_layer = nn.Linear(width, size + 1, bias=False)
        self.ar_delay_predict_layers = nn.ModuleDict({str(k): nn.Linear(width, size, bias=False) for k in later})
        self.ar_dropout = nn.Dropout(config.dropout)

    def ar_scores(self, batch: Batch) -> dict[int, Score]:
        """How the target's codes are predicted, each from those before it, by codebook."""
        config = self.config
        codes = batch.target_codes[..., : config.streams]
        steps = batch.target_frames + max(config.streams - 1, int(config.predict_end))
        labels = delayed(codes, batch.target_lens, steps, _IGNORED)
        if config.predict_end:
            at_end = torch.arange(steps, device=codes.device) == batch.target_lens[:, None]
            labels[..., 0] = labels[..., 0].masked_fill(at_end & batch.ends[:, None], config.end)
        hidden = self.ar_hidden(batch, delayed(codes, batch.target_lens, steps, config.start, late=1))
        scores = {}
        if config.streams == 1 and batch.full_targets and not config.predict_end:  # spares a gather, and a GPU a wait
            return {0: score(self.ar_logits(hidden.flatten(0, 1), 0), labels.flatten())}
        for stream in range(config.streams):
            known = labels[..., stream] != _IGNORED
            scores[stream] = score(self.ar_logits(hidden[known], stream), labels[..., stream][known])
        return scores

    def ar_hidden(self, batch: Batch, ids: Tensor) -> Tensor:
        """What the steps predict from, all at once: `(rows, steps, width)`.

        Args:
            ids: `(rows, steps, streams)`: what each step reads, the start first.
        """
        fed = ids if self.config.prepend_bos else ids[:, 1:]
        behind = self.ar_input_positions(batch.left_lens, ids.shape[1])[:, ids.shape[1] - fed.shape[1] :]
        x = self.ar_inputs(fed, behind, batch.left_lens)
        if not batch.prompt_frames:
            if not self.config.prepend_bos:
                raise PromptError(_EMPTY)
            return self.ar_pass(x, behind, mask=None, causal=True)
        packing = Packing(batch, fed.shape[1])
        x = packing.packed(torch.cat([self.ar_prompt(batch), x], dim=1))
        positions = packing.packed(torch.cat([batch.prompt_positions, behind], dim=1))
        mask = prefix_mask(packing.prompt_lens, packing.longest)
        if not self.config.prepend_bos:
            hidden = self.ar_pass(x, positions, mask=mask)
            return torch.cat([self.ar_last(batch, hidden), packing.targets(hidden)], dim=1)
        after = behind_mask(packing.prompt_lens, fed.shape[1], packing.longest)
        return self.ar_pass(x, positions, mask=mask, wanted=Wanted(packing.targets, after))

    def ar_pass(
        self,
        x: Tensor,
        positions: Tensor,
        *,
        mask: Tensor | None,
        causal: bool = False,
        cache: Cache | None = None,
        wanted: Wanted | None = None,
    ) -> Tensor:
        """`(rows, tokens, width)` of embeddings at `(rows, tokens)` -> the same shape, normed, or of those wanted."""
        turned = positions if self.config.positions == "rotary" else None
        return self.ar_decoder(x, positions=turned, mask=mask, causal=causal, cache=cache, wanted=wanted)

    def ar_last(self, batch: Batch, hidden: Tensor | None) -> Tensor:
        """The last frame of each prompt, of which a model without BOS predicts the first step: `(rows, 1, width)`.

        Raises:
            PromptError: a prompt is empty.
        """
        if hidden is None or bool((batch.prompt_lens == 0).any()):
            raise PromptError(_EMPTY)
        return hidden[torch.arange(len(batch), device=hidden.device), batch.prompt_lens - 1][:, None]

    def ar_prompt(self, batch: Batch) -> Tensor:
        """The prompt's embeddings, `(rows, prompt frames, width)`."""
        tables = self._ar_prompt_tables()
        x = summed(tables, batch.prompt_codes)
        x = self.ar_audio_prenet(x) + self.ar_part_embedding(batch.prompt_parts)
        if self.config.positions == "sine":
            x = self.ar_audio_position(x, batch.prompt_positions - 1)
        return self.ar_dropout(x)

    def ar_inputs(self, ids: Tensor, positions: Tensor, left_lens: Tensor) -> Tensor:
        """Embeddings of what steps read: `(rows, steps, streams)` at `(rows, steps)` -> `(rows, steps, width)`."""
        x = self.ar_audio_embedding(ids[..., 0])
        for name, table in self.ar_delay_embeddings.items():
            x = x + table(ids[..., int(name)])
        x = self.ar_audio_prenet(x)
        if self.config.positions == "sine":  # as VALL-E's: from 0
            x = self.ar_audio_position(x, positions - left_lens[:, None] - int(not self.config.prepend_bos))
        return self.ar_dropout(x)

    def ar_input_positions(self, left_lens: Tensor, steps: int) -> Tensor:
        """When a step's input is: `(rows, steps)`; the start stands just before the target's first frame."""
        return left_lens[:, None] + torch.arange(steps, device=left_lens.device)

    def ar_logits(self, hidden: Tensor, stream: int) -> Tensor:
        """`(..., width)` -> `(..., size)` of a stream's codes, and of the end where the model knows one."""
        if stream:
            return product_of(hidden, self.ar_delay_predict_layers[str(stream)])
        weight = self.ar_predict_layer.weight
        return linear(hidden, weight if self.config.predict_end else weight[: self.config.codebook_size])

    def _ar_prompt_tables(self) -> list[nn.Module]:
        targets = [self.ar_audio_embedding, *self.ar_delay_embeddings.values()]
        own = self.ar_prompt_embeddings
        return [own[str(k)] if str(k) in own else targets[k] for k in range(self.config.num_quantizers)]
