"""AudioLM: codes of sound, continued, filled in, or made in another sound's manner.

Other than in VALL-E's model, a target may have a right side and a style, starts from BOS, goes on in
time from its left side, and need not learn an end. `pattern="delay"` has one transformer for all codebooks, and no NAR.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import torch
from torch import Tensor

from auricle.audiolm.model.ar import Autoregressive
from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.config import AudioLMConfig
from auricle.audiolm.model.generating import Run, decode, refine
from auricle.audiolm.model.layers import initialise
from auricle.audiolm.model.losses import Losses, Score
from auricle.audiolm.model.nar import NonAutoregressive
from auricle.audiolm.model.prompt import Prompt, check_codes
from auricle.audiolm.model.sampling import TokenSampling
from auricle.errors import OptionError, PromptError

BOTH, AR_ONLY, NAR_ONLY = 0, 1, 2  # stages of training


class AudioLM(Autoregressive, NonAutoregressive):
    """Built as VALL-E's is, from the fields of `AudioLMConfig`; weights are random.

    Raises:
        OptionError: a field is unknown or outside its range.
    """

    def __init__(self, d_model: int = 1024, nhead: int = 16, num_layers: int = 12, **fields: Any) -> None:
        super().__init__()
        try:
            self.config = AudioLMConfig(d_model, nhead, num_layers, **fields)
        except TypeError as error:
            raise OptionError(f"an AudioLM can't be built: {error}") from None
        self._build_ar(self.config)
        self._build_nar(self.config)
        initialise(self)

    @classmethod
    def of(cls, config: AudioLMConfig) -> AudioLM:
        """From a config."""
        return cls(**vars(config))

    @property
    def device(self) -> torch.device:
        return self.ar_predict_layer.weight.device

    def losses(self, batch: Batch, *, stage: int, generator: torch.Generator) -> Losses:
        """What a step of training goes down: of the NAR half's codebooks one, drawn from `generator` (on the CPU).

        Args:
            batch: on the model's device.
            stage: 0 both halves, 1 the AR half, 2 the NAR half.

        Raises:
            OptionError: a stage that this model doesn't have.
        """
        drawn = torch.randint(1, max(self.config.num_quantizers, 2), (), generator=generator)
        return self._losses(batch, stage, [int(drawn)])

    def evaluate(self, batch: Batch, *, stage: int = BOTH) -> Losses:
        """The same for all codebooks; their mean is what `losses` is on average."""
        return self._losses(batch, stage, list(range(1, self.config.num_quantizers)))

    def _losses(self, batch: Batch, stage: int, codebooks: list[int]) -> Losses:
        self._check(batch, stage)
        scores: dict[int, Score] = {}
        halves = []
        if stage != NAR_ONLY:
            scores |= self.ar_scores(batch)
            halves.append(torch.stack([score.mean for score in scores.values()]).mean())
        if stage != AR_ONLY and self.config.has_nar:
            later = {codebook: self.nar_score(batch, codebook) for codebook in codebooks}
            halves.append(torch.stack([score.mean for score in later.values()]).mean())
            scores |= later
        return Losses.of(torch.stack(halves).mean(), scores, self.config.num_quantizers)

    def _check(self, batch: Batch, stage: int) -> None:
        if stage not in (BOTH, AR_ONLY, NAR_ONLY):
            raise OptionError(f"stage is {stage}; it is 0 for both halves, 1 for the AR one, 2 for the NAR one")
        if stage == NAR_ONLY and not self.config.has_nar:
            raise OptionError("stage is 2, and this model has no NAR half: train it in stage 0")
        given = batch.target_codes.shape[2]
        if given != self.config.num_quantizers:
            raise PromptError(f"a batch has codes of {given} codebooks; the model's have {self.config.num_quantizers}")

    def generate(
        self,
        prompts: Sequence[Prompt],
        frames: int | Sequence[int],
        sampling: TokenSampling | None = None,
        *,
        cache: bool = True,
        cancel: threading.Event | None = None,
        step: Callable[[int], None] | None = None,
    ) -> list[Tensor]:
        """Targets for prompts, all in one batch.

        Args:
            frames: how many, for all or for each.
            sampling: None: the defaults.
            cache: without it every step reads everything again: the same codes, and very slow.
            cancel: looked at in each step.
            step: called in each step with the number of frames that the AR half has.

        Returns:
            `(frames, codebooks)` codes for each prompt, as many as asked for; fewer only where a model that
            predicts ends ended.

        Raises:
            PromptError: a prompt's codes aren't the model's, or more frames are wanted than its gap has.
            OptionError: frames are not 1 or more, or not as many as prompts.
            CancelledError: `cancel` was set.
        """
        if not prompts:
            return []
        sampling = sampling or TokenSampling()
        wanted = self._wanted(prompts, frames)
        with self._asked():
            run = self._run(prompts, wanted, sampling, cancel, step)
            codes, lens = decode(self, run, cache=cache)
            if self.config.has_nar:
                codes = refine(self, run, codes[..., 0], lens)
        return [row[:length].clone() for row, length in zip(codes, lens.tolist(), strict=True)]

    def nats(self, prompts: Sequence[Prompt], targets: Sequence[Tensor]) -> list[float]:
        """How unlikely the AR half finds each target after its prompt, in nats: its codebook 0, or in the delay pattern
        all of it. That a sound ends is not asked.

        Raises:
            PromptError: codes aren't the model's, or not as many prompts as targets.
        """
        if len(prompts) != len(targets):
            raise PromptError(f"{len(prompts)} prompts have {len(targets)} targets; they have as many")
        found = []
        with self._asked():
            for prompt, target in zip(prompts, targets, strict=True):  # one by one: losses are sums over a batch
                batch = Batch.of([prompt], [target], [False], size=self.config.codebook_size)
                found.append(float(self.evaluate(batch.to(self.device), stage=AR_ONLY).nll_sums.sum()))
        return found

    def inference(
        self,
        x: Tensor,
        x_lens: Tensor,
        max_new_tokens: int = 500,
        temperature: float = 1.0,
        top_k: int = 50,
        **options: Any,
    ) -> Tensor:
        """The call of VALL-E's AudioLM: prompts and their continuations, `(rows, prompt + new frames, codebooks)`.

        Args:
            x: `(rows, frames, codebooks)`.
            x_lens: `(rows,)`, how many of them count: the same for all rows. `generate` takes unequal ones.
            max_new_tokens: new frames: exactly so many, unless the model predicts ends and is given one row.
            options: further ones of `TokenSampling`.

        Raises:
            PromptError, OptionError: as `generate`; or lengths are unequal.
        """
        if x.ndim != 3 or x_lens.ndim != 1 or len(x) != len(x_lens) or not len(x):
            raise PromptError(
                f"x is {tuple(x.shape)} and x_lens {tuple(x_lens.shape)}; (rows, frames, codebooks) and (rows,)"
            )
        length = int(x_lens[0])
        if bool((x_lens != length).any()) or not 0 <= length <= x.shape[1]:
            raise PromptError(
                f"x_lens is {x_lens.tolist()} for {x.shape[1]} frames; rows have one length here: use generate"
            )
        try:
            sampling = TokenSampling(temperature=temperature, top_k=max(top_k, 0), **options)
        except TypeError as error:
            raise OptionError(f"no such option of sampling: {error}") from None
        found = self.generate([Prompt(left=row[:length]) for row in x], max_new_tokens, sampling)
        shortest = min(len(row) for row in found)
        rows = torch.stack([row[:shortest] for row in found])
        return torch.cat([x[:, :length].to(rows.device).long(), rows], dim=1)

    @contextmanager
    def _asked(self) -> Iterator[None]:
        """Without dropout and gradients."""
        was_training = self.training
        self.eval()
        try:
            with torch.no_grad():
                yield
        finally:
            self.train(was_training)

    def _wanted(self, prompts: Sequence[Prompt], frames: int | Sequence[int]) -> list[int]:
        wanted = list(frames) if isinstance(frames, Sequence) else [frames] * len(prompts)
        if len(wanted) != len(prompts):
            raise OptionError(f"frames has {len(wanted)} numbers for {len(prompts)} prompts; it has one for each")
        if min(wanted) < 1:
            raise OptionError(f"frames is {min(wanted)}; it is 1 or more")
        for prompt, count in zip(prompts, wanted, strict=True):
            check_codes(
                prompt.codes(self.config.num_quantizers),
                self.config.num_quantizers,
                self.config.codebook_size,
                "a prompt",
            )
            if len(prompt.right) and count > prompt.gap:
                raise PromptError(f"{count} frames are wanted where the prompt's gap has {prompt.gap}")
        return wanted

    def _run(
        self,
        prompts: Sequence[Prompt],
        wanted: list[int],
        sampling: TokenSampling,
        cancel: threading.Event | None,
        step: Callable[[int], None] | None,
    ) -> Run:
        codebooks = self.config.num_quantizers
        blank = [torch.zeros(count, codebooks, dtype=torch.int64) for count in wanted]
        rows = len(prompts)
        if sampling.guidance != 1:
            prompts, blank = [*prompts, *(prompt.dropped(sampling.guidance_without) for prompt in prompts)], blank * 2
        uniforms = sampling.uniforms(wanted, codebooks).to(self.device)
        return Run(Batch.of(prompts, blank).to(self.device), rows, sampling, uniforms, cancel, step)
