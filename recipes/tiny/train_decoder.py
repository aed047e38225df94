"""Stage 2: encoder and decoder together learn to answer.

The decoder must find, in 25 tokens a second, the word after the one it just wrote. Left to itself it does not
(docs/log.md), so two heads of its first full layer are told where to look: at the tokens that name the next word, whose
times are known. The losses of stage 1 go on beside it, so that the encoder keeps naming them.
"""

from __future__ import annotations

import argparse
import queue
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from tokenizers import Tokenizer
from torch import Tensor, nn

from auricle.models.gemma4.features import FeatureConfig
from auricle.models.gemma4.model import Gemma4
from recipes.tiny import conversations, mix, tokenizer
from recipes.tiny.conversations import Clip, Example, Writer
from recipes.tiny.model import Hearing, new_decoder
from recipes.tiny.optim import optimisers
from recipes.tiny.train_encoder import WEIGHTS

SECONDS = 100  # of sound a batch, padding included
LOOKING_LAYER, LOOKING_HEADS = 1, 2
GUIDE_WEIGHT, HEARING_WEIGHT = 0.3, 2.0
DECISIVE = 4.0  # weight of a token that is the whole answer, beside words of a transcript
WRONG_WORDS = 0.06  # of the words that the decoder is given as its own
_FEATURES = FeatureConfig()


@dataclass
class Batch:
    """Conversations of similar length, padded."""

    mel: Tensor  # (clips, frames, mels)
    frames: Tensor  # (clips,)
    labels: dict[str, Tensor]  # (clips, tokens) each
    ids: Tensor  # (rows, places): what is to be predicted
    given: Tensor  # (rows, places): the same, but for a few wrong words
    learned: Tensor  # (rows, places): how much predicting the token counts
    looks: Tensor  # (looks, 4): row, place, first and last place to look at
    zeroed: Tensor  # (clips,): true where audio tokens become zeros


def collate(rng: np.random.Generator, examples: list[Example], targets: mix.Targets) -> Batch:
    clips = [clip for example in examples for clip in example.clips]
    lengths = [len(clip.mix.samples) for clip in clips]
    samples = torch.zeros(len(clips), max(lengths))
    for row, clip in zip(samples, clips, strict=True):
        row[: len(clip.mix.samples)] = torch.from_numpy(clip.mix.samples)
    mel = mix.mask_bands(rng, mix.mel_batch(samples))
    frames = torch.tensor([_FEATURES.frames(n) for n in lengths])
    mel = mel * (torch.arange(mel.shape[1]) < frames[:, None])[..., None]
    tokens = _FEATURES.tokens(max(lengths))
    labels = {name: torch.full((len(clips), tokens), mix.IGNORED) for name in WEIGHTS}
    for i, clip in enumerate(clips):
        for name, values in targets.label(clip.mix).items():
            labels[name][i, : len(values)] = torch.from_numpy(values)
    places = max(len(example.ids) for example in examples)
    ids = torch.zeros(len(examples), places, dtype=torch.long)
    learned = torch.zeros(len(examples), places)
    looks = []
    for i, example in enumerate(examples):
        ids[i, : len(example.ids)] = torch.tensor(example.ids)
        learned[i, example.learned] = 1.0
        learned[i, example.decisive] = DECISIVE
        looks += [(i, *look) for look in example.looks]
    # A decoder that was only ever given right words loses its place after its first wrong one.
    given = ids.clone()
    words = [(row, place + 1) for row, place, low, high in looks if ids[row, place + 1] != Writer.END_TURN]
    for row, place in words:
        if rng.random() < WRONG_WORDS:
            given[row, place] = ids[words[rng.integers(len(words))]]
    zeroed = torch.tensor([example.zeroed for example in examples for _ in example.clips])
    return Batch(mel, frames, labels, ids, given, learned, torch.tensor(looks).view(-1, 4), zeroed)


def clips_for(rng: np.random.Generator, speech: mix.Pool, others: mix.Pool) -> list[Clip]:
    """What one conversation is about: mostly a sentence, else a sound, a short crop, long speech, or two clips."""
    choice = rng.random()
    if choice < 0.54:
        return [conversations.utterance(rng, speech, others)]
    if choice < 0.80:
        return [conversations.sound(rng, others)]
    if choice < 0.92:
        return [conversations.crop(rng, speech, others)]
    if choice < 0.95:
        return [conversations.utterance(rng, speech, others, seconds=rng.uniform(6, 29))]
    return conversations.pair(rng, speech, others)


def batches(data: Path, targets: mix.Targets, tokens: Tokenizer, seed: int) -> Iterator[Batch]:
    """Endless batches, made in a thread: many examples at once, sorted by length, so that little is padding."""
    ready: queue.Queue[Batch] = queue.Queue(maxsize=6)

    def work() -> None:
        rng = np.random.default_rng(seed)
        speech, others = mix.Pool(data, "speech"), mix.Pool(data, "other")
        writer = Writer(tokens)
        while True:
            examples = [writer.write(rng, clips_for(rng, speech, others)) for _ in range(256)]
            examples.sort(key=_seconds)
            groups: list[list[Example]] = [[]]
            for example in examples:
                if _seconds(example) * (len(groups[-1]) + 1) > SECONDS or len(groups[-1]) == 64:
                    groups.append([])
                groups[-1].append(example)
            for i in rng.permutation(len(groups)):
                if groups[i]:
                    ready.put(collate(rng, groups[i], targets))

    threading.Thread(target=work, daemon=True).start()
    while True:
        yield ready.get()


def _seconds(example: Example) -> float:
    return max(len(clip.mix.samples) for clip in example.clips) * len(example.clips) / mix.RATE


class Watch:
    """Keeps what the looking layer's attention was given, to ask its heads where they look."""

    def __init__(self, model: Gemma4) -> None:
        self.attention = model.language_model.layers[LOOKING_LAYER].self_attn
        self.attention.register_forward_hook(self._keep)

    def _keep(self, module: nn.Module, inputs: tuple[Any, ...], output: Tensor) -> None:
        self.queries, (stretch,) = inputs
        self.keys = stretch.keys

    def loss(self, looks: Tensor) -> Tensor:
        """Minus the log of the attention that lies within each wanted stretch, of all that lies at or before it."""
        row, place, low, high = looks.unbind(1)
        q = self.queries[row, :LOOKING_HEADS, place]  # (looks, heads, dim), normed and turned to their positions
        logits = torch.einsum("lhd,lpd->lhp", q.float(), self.keys[row, 0].float())
        places = torch.arange(logits.shape[-1])
        logits = logits.masked_fill((places > place[:, None])[:, None], -torch.inf)
        inside = (places >= low[:, None]) & (places <= high[:, None])
        log_all = torch.logsumexp(logits, -1)
        log_inside = torch.logsumexp(logits.masked_fill(~inside[:, None], -torch.inf), -1)
        return (log_all - log_inside).mean()


def losses(model: Gemma4, heads: nn.ModuleDict, watch: Watch, batch: Batch) -> dict[str, Tensor]:
    """The decoder's cross-entropy, the guide of its attention, and the sum of stage 1's losses."""
    decoder, audio_id = model.language_model, model.config.audio_token_id
    with torch.autocast("cpu", torch.bfloat16):
        soft = model.encode(batch.mel)
        counts = (batch.frames + 3) // 4
        own = torch.arange(soft.shape[1]) < counts[:, None]
        soft_given = (soft * ~batch.zeroed[:, None, None])[own]
        x = decoder.embed(batch.given, soft_given, audio_id)
        hidden = decoder(x, decoder.per_layer_inputs(batch.given, x, audio_id))
        learned = batch.learned > 0
        logits = decoder.logits(hidden[learned.roll(-1, 1)])
        guide = watch.loss(batch.looks) if len(batch.looks) else torch.zeros(())
    wanted, weights = batch.ids[learned], batch.learned[learned]
    hearing = torch.zeros(())
    for name, head in heads.items():
        labels = batch.labels[name].flatten()
        hearing = hearing + WEIGHTS[name] * F.cross_entropy(
            head(soft.float()).flatten(0, 1), labels, ignore_index=mix.IGNORED
        )
    right = (logits.argmax(-1) == wanted).float().mean()
    answer = (F.cross_entropy(logits, wanted, reduction="none") * weights).sum() / weights.sum()
    return {"answer": answer, "guide": guide, "hearing": hearing, "right": right.detach()}


def schedule(done: float) -> float:
    """Learning rate factor at a part of the run: full, then linearly down over the last 70 %."""
    return min(1.0, max(0.01, (1 - done) / 0.7))


def train(work: Path, minutes: float, seed: int, matrix_lr: float = 0.02, other_lr: float = 2e-3) -> None:
    torch.manual_seed(seed)
    first = torch.load(work / "encoder.pt", weights_only=False)
    targets = mix.Targets(first["words"], first["phonemes"])
    tokens = tokenizer.build(first["words"], work / "tiny")
    model = new_decoder(tokens.get_vocab_size(), seed)
    hearing = Hearing(len(first["phonemes"]) + 1, len(first["words"]) + 1, len(mix.KINDS))
    hearing.load_state_dict(first["model"])
    model.audio_tower.load_state_dict(hearing.encoder.state_dict())
    model.embed_audio.embedding_projection.load_state_dict(hearing.projection.state_dict())
    both = nn.ModuleDict({"model": model, "heads": hearing.heads})
    watch = Watch(model)
    stepping = optimisers(both, matrix_lr, other_lr)
    base = [[g["lr"] for g in o.param_groups] for o in stepping]
    step, spent, state_file = 0, 0.0, work / "decoder.pt"
    if state_file.exists():
        state = torch.load(state_file, weights_only=False)
        both.load_state_dict(state["both"])
        for optimiser, saved in zip(stepping, state["optimisers"], strict=True):
            optimiser.load_state_dict(saved)
        step, spent = state["step"], state["spent"]
    print(f"{sum(p.numel() for p in model.parameters()) / 1e6:.2f} M parameters", flush=True)

    def save() -> None:
        state = {"both": both.state_dict(), "optimisers": [o.state_dict() for o in stepping]}
        torch.save(state | {"step": step, "spent": spent}, state_file.with_suffix(".tmp"))
        state_file.with_suffix(".tmp").rename(state_file)

    last = time.monotonic()
    recent: dict[str, list[float]] = {}
    for batch in batches(work / "data", targets, tokens, seed + step):
        factor = schedule(spent / (60 * minutes)) * min(1.0, (step + 1) / 50)
        for optimiser, rates in zip(stepping, base, strict=True):
            for group, rate in zip(optimiser.param_groups, rates, strict=True):
                group["lr"] = rate * factor
        parts = losses(model, hearing.heads, watch, batch)
        total = parts["answer"] + GUIDE_WEIGHT * parts["guide"] + HEARING_WEIGHT * parts["hearing"]
        total.backward()
        torch.nn.utils.clip_grad_norm_(both.parameters(), 5.0, error_if_nonfinite=True)
        for optimiser in stepping:
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
        step += 1
        now = time.monotonic()
        spent, last = spent + now - last, now
        for name, value in parts.items():
            recent.setdefault(name, []).append(value.item())
        if step % 25 == 0:
            means = " ".join(f"{name} {np.mean(values):.3f}" for name, values in recent.items())
            print(f"step {step} {spent / 60:.1f} min {means}", flush=True)
            recent.clear()
        if step % 100 == 0:
            save()
        if spent > 60 * minutes:
            break
    save()


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("recipes/tiny/work"))
    parser.add_argument("--minutes", type=float, default=75)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--matrix-lr", type=float, default=0.02)
    parser.add_argument("--other-lr", type=float, default=2e-3)
    arguments = parser.parse_args()
    train(arguments.work, arguments.minutes, arguments.seed, arguments.matrix_lr, arguments.other_lr)
