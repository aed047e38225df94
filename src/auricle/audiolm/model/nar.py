"""The half that predicts codebook 1 of all frames at once, then 2, and so on: full attention over prompt and target.

Of the target it reads the sum of the codebooks that are known already, of the prompt all of them. Which codebook is
asked for, its norms are told.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn

from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.config import AudioLMConfig
from auricle.audiolm.model.layers import SinePosition, Table, Transformer, Wanted, prenet, product_of, summed
from auricle.audiolm.model.losses import Score, score
from auricle.audiolm.model.masks import key_mask
from auricle.audiolm.model.packing import Packing


class NonAutoregressive(nn.Module):
    """The `nar_` part of an AudioLM; names are those of VALL-E's checkpoints."""

    config: AudioLMConfig

    def _build_nar(self, config: AudioLMConfig) -> None:
        if not config.has_nar:
            return
        width, size, codebooks = config.nar_width, config.codebook_size, config.num_quantizers
        share = config.share_embedding
        # The last codebook is read in the prompt only.
        read = codebooks if share else codebooks - 1
        self.nar_audio_embeddings = nn.ModuleList([Table(size + int(k == 0), width) for k in range(read)])
        if not share:
            self.nar_prompt_embeddings = nn.ModuleList([Table(size, width) for _ in range(codebooks)])
            outputs = [nn.Linear(width, size, bias=False) for _ in range(codebooks - 1)]
            self.nar_predict_layers = nn.ModuleList(outputs)
        self.nar_part_embedding = nn.Embedding(3, width)
        self.nar_audio_prenet = prenet(width) if config.add_prenet else nn.Identity()
        if config.positions == "sine":
            self.nar_audio_position = SinePosition(width)
        self.nar_decoder = Transformer(
            *(width, config.nar_heads, config.nar_depth),
            norm_first=config.norm_first,
            adaptive=True,
            dropout=config.dropout,
        )
        self.nar_stage_embeddings = nn.ModuleList([Table(1, width) for _ in range(codebooks - 1)])
        self.nar_dropout = nn.Dropout(config.dropout)

    def nar_score(self, batch: Batch, codebook: int) -> Score:
        """How one codebook of the target, from 1, is predicted from those before it."""
        hidden = self.nar_hidden(batch, self.nar_prompt(batch), self.nar_target(batch.target_codes, codebook), codebook)
        targets = batch.target_codes[..., codebook]
        if batch.full_targets:
            return score(self.nar_logits(hidden.flatten(0, 1), codebook), targets.flatten())
        known = torch.arange(batch.target_frames, device=targets.device) < batch.target_lens[:, None]
        return score(self.nar_logits(hidden[known], codebook), targets[known])

    def nar_hidden(self, batch: Batch, prompt: Tensor, target: Tensor, codebook: int) -> Tensor:
        """What a codebook is predicted from: `(rows, target frames, width)`.

        Args:
            prompt: see `nar_prompt`.
            target: `(rows, target frames, width)`, embeddings of the codebooks before it, summed.
        """
        config = self.config
        time = torch.arange(target.shape[1], device=target.device).expand(len(batch), -1)
        target = self.nar_audio_prenet(target)
        if config.positions == "sine":  # as VALL-E's: from 0
            target = self.nar_audio_position(target, time)
        x = torch.cat([prompt, self.nar_dropout(target)], dim=1)
        positions = torch.cat([batch.prompt_positions, batch.left_lens[:, None] + 1 + time], dim=1)
        packing = Packing(batch, target.shape[1])
        padded = not (batch.full_prompts and batch.full_targets)
        mask = key_mask(packing.lens, packing.longest) if padded else None
        return self.nar_decoder(
            packing.packed(x),
            positions=packing.packed(positions) if config.positions == "rotary" else None,
            mask=mask,
            condition=self.nar_stage_embeddings[codebook - 1].weight,
            wanted=Wanted(packing.targets, mask),
        )

    def nar_prompt(self, batch: Batch) -> Tensor:
        """The prompt's embeddings, `(rows, prompt frames, width)`."""
        tables = self.nar_audio_embeddings if self.config.share_embedding else self.nar_prompt_embeddings
        x = summed(tables, batch.prompt_codes)
        x = self.nar_audio_prenet(x) + self.nar_part_embedding(batch.prompt_parts)
        if self.config.positions == "sine":
            x = self.nar_audio_position(x, batch.prompt_positions - 1)
        return self.nar_dropout(x)

    def nar_target(self, codes: Tensor, codebook: int) -> Tensor:
        """Embeddings of all codebooks before one, added: `(rows, frames, codebooks)` -> `(rows, frames, width)`."""
        return summed(list(self.nar_audio_embeddings)[:codebook], codes)

    def nar_logits(self, hidden: Tensor, codebook: int) -> Tensor:
        """`(..., width)` -> `(..., size)`."""
        share = self.config.share_embedding
        outputs = self.nar_audio_embeddings[codebook] if share else self.nar_predict_layers[codebook - 1]
        return product_of(hidden, outputs)
