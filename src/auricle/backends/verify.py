"""Our numbers against the reference implementation's (transformers), on real weights and a sound of the user's.

Ours are computed first and the model is dropped before the reference is loaded, so the memory of one is enough. The
prompt's token ids are ours for both: what is compared is what is computed from them.
"""

from __future__ import annotations

import gc
import importlib
from collections.abc import Iterator
from dataclasses import dataclass

import torch
from torch import Tensor

from auricle.backends.native import NativeBackend
from auricle.backends.references import Reference, library, reference_of
from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError
from auricle.hub import ModelName, find
from auricle.layers.packing import read_packing
from auricle.models.family import read_one
from auricle.sound.segment import segment
from auricle.types import DEFAULT_QUESTION, Ask, Audio, Message, Sampling

# Of values whose root mean square is at most 1, and relative to it above: encoder, logits.
TOLERANCES = {torch.float32: (1e-4, 1e-3), torch.float16: (0.03, 0.1), torch.bfloat16: (0.25, 0.75)}


@dataclass(frozen=True)
class Check:
    """One quantity compared."""

    name: str
    shape: tuple[int, ...]  # of what was compared
    difference: float  # the largest absolute one; of tokens, how many are not the same
    tolerance: float
    ok: bool
    remark: str = ""


@dataclass(frozen=True)
class Verification:
    """All that was compared, and with what."""

    checks: tuple[Check, ...]
    device: str
    dtype: str
    seconds: float  # of the sound compared
    reference: str  # "transformers 5.23.0"
    notes: tuple[str, ...] = ()

    @property
    def ok(self) -> bool:
        return all(check.ok for check in self.checks)


@dataclass(frozen=True)
class _Numbers:
    """What one side computed, on the CPU in float32."""

    mel: Tensor  # (frames, mels)
    encoded: Tensor  # (audio tokens, hidden)
    logits: Tensor  # (prompt tokens, vocabulary)
    last: Tensor  # (vocabulary,), as an answer computes them: of the last position alone
    greedy: tuple[int, ...]
    steps: Tensor | None = None  # (greedy tokens, vocabulary): the logits of each, where they are known


def verify(
    model: ModelName,
    audio: Audio,
    *,
    device: str = "auto",
    dtype: str = "auto",
    threads: int | None = None,
    max_tokens: int = 32,
) -> Verification:
    """Compares mel, encoder, the prompt's logits and `max_tokens` greedy tokens.

    Args:
        audio: at the model's rate; of one longer than a clip (30 s) the first piece is taken, and a note says so.

    Raises:
        InputError: transformers is not installed, or too old to know the model.
        The errors of `auricle.load` and of `Model.stream`.
    """
    transformers, checkpoint = library(), Checkpoint(find(model))
    _refuse_packed(checkpoint)
    reference = reference_of(transformers, checkpoint)
    backend = NativeBackend(model, device=device, dtype=dtype, threads=threads)
    family = backend.family
    clip = segment(audio, family.max_clip_seconds)[0].audio
    ours, ids = _ours(backend, clip, max_tokens)
    on, precision, stops = family.device, family.dtype, sorted(family.stop_ids)
    del backend, family
    gc.collect()
    theirs = _theirs(reference, on, precision, clip, ids, len(ours.encoded), stops, max_tokens)
    return Verification(
        checks=tuple(_compare(ours, theirs, precision, reference.MEL_TOLERANCE)),
        device=str(on),
        dtype=str(precision).removeprefix("torch."),
        seconds=clip.seconds,
        reference=f"transformers {transformers.__version__}",
        notes=tuple(_notes(audio, clip, precision)),
    )


def _refuse_packed(checkpoint: Checkpoint) -> None:
    packing = read_packing(checkpoint.config, checkpoint.folder)
    if packing is not None:
        raise CheckpointError(
            f"{checkpoint.folder} is quantised ({packing.scheme}) and the reference reads dense weights: "
            f"verify {packing.provenance.get('source', 'the model')} that it was made from"
        )


def _notes(audio: Audio, clip: Audio, dtype: torch.dtype) -> Iterator[str]:
    if len(clip.samples) < len(audio.samples):
        yield f"only the first {clip.seconds:.1f} s of {audio.seconds:.1f} s were compared"
    if dtype != torch.float32:
        yield f"tolerances are wide in {str(dtype).removeprefix('torch.')}: --dtype float32 compares sharply"


@torch.inference_mode()
def _ours(backend: NativeBackend, clip: Audio, max_tokens: int) -> tuple[_Numbers, list[int]]:
    """Our numbers, and the prompt's ids."""
    family = backend.family
    message = Message("user", (DEFAULT_QUESTION, clip))
    *_, last = backend.stream(Ask((message,), Sampling(max_tokens=max_tokens)))  # refuses what can't be compared, too
    assert last.answer is not None, "a stream ends with its answer"
    mel = family.features(clip.samples)
    encoded = family.encode(mel)
    ids = family.prompt([message], [len(encoded)]).ids
    numbers = _Numbers(
        mel=torch.from_numpy(mel),
        encoded=encoded.float().cpu(),
        logits=read_one(family, ids, encoded, family.new_cache(), wanted=len(ids)).float().cpu(),
        last=read_one(family, ids, encoded, family.new_cache())[-1].float().cpu(),
        greedy=last.answer.tokens,
    )
    return numbers, ids


@torch.inference_mode()
def _theirs(
    reference: Reference,
    device: torch.device,
    dtype: torch.dtype,
    clip: Audio,
    ids: list[int],
    tokens: int,
    stops: list[int],
    max_tokens: int,
) -> _Numbers:
    """Theirs, for a prompt with so many audio tokens."""
    heard, model = reference.hear(clip.samples), reference.load(device, dtype)
    inputs = {
        name: value.to(device, dtype) if value.is_floating_point() else value.to(device)
        for name, value in heard.inputs.items()
    }
    encoded: list[Tensor] = []
    hook = reference.projector(model).register_forward_hook(lambda _, __, given: encoded.append(given))
    prompt = torch.tensor([ids], device=device)
    logits = model(input_ids=prompt, attention_mask=torch.ones_like(prompt), **inputs).logits[0]
    hook.remove()
    greedy = importlib.import_module("transformers").GenerationConfig(
        do_sample=False,
        max_new_tokens=max_tokens,
        eos_token_id=stops,
        pad_token_id=stops[0],
        return_dict_in_generate=True,
        output_logits=True,
    )
    out = model.generate(input_ids=prompt, attention_mask=torch.ones_like(prompt), **inputs, generation_config=greedy)
    return _Numbers(
        mel=heard.mel,
        encoded=encoded[0].view(-1, encoded[0].shape[-1])[:tokens].float().cpu(),
        logits=logits.float().cpu(),
        last=logits[-1].float().cpu(),
        greedy=tuple(out.sequences[0, len(ids) :].tolist()),
        steps=torch.cat(out.logits).float().cpu(),
    )


def _compare(ours: _Numbers, theirs: _Numbers, dtype: torch.dtype, mel_tolerance: float) -> Iterator[Check]:
    encoder_tolerance, logit_tolerance = TOLERANCES[dtype]
    yield _numbers("mel", ours.mel, theirs.mel, mel_tolerance)
    yield _numbers("encoder", ours.encoded, theirs.encoded, encoder_tolerance * _scale(theirs.encoded))
    logit_tolerance *= _scale(theirs.logits)
    yield _numbers("logits", ours.logits, theirs.logits, logit_tolerance)
    yield _numbers("logits, last position", ours.last, theirs.last, logit_tolerance)
    yield _tokens(ours.greedy, theirs, logit_tolerance, exact=dtype == torch.float32)


def _scale(reference: Tensor) -> float:
    """What tolerances are multiplied by: rounding errors grow with the values."""
    return max(1.0, float(reference.square().mean().sqrt()))


def _numbers(name: str, ours: Tensor, theirs: Tensor, tolerance: float) -> Check:
    if ours.shape != theirs.shape:
        remark = f"the reference's shape is {tuple(theirs.shape)}"
        return Check(name, tuple(ours.shape), float("inf"), tolerance, False, remark)
    difference = float((ours - theirs).abs().max())
    return Check(name, tuple(ours.shape), difference, tolerance, difference <= tolerance)


def _tokens(ours: tuple[int, ...], theirs: _Numbers, logit_tolerance: float, *, exact: bool) -> Check:
    """The same tokens; in low precision the paths may part where the reference itself can hardly tell two apart."""
    first = next((i for i, (a, b) in enumerate(zip(ours, theirs.greedy, strict=False)) if a != b), None)
    if first is None:
        ok = len(ours) == len(theirs.greedy)
        remark = "" if ok else f"the reference gave {len(theirs.greedy)} tokens"
        return Check("greedy tokens", (len(ours),), float(abs(len(ours) - len(theirs.greedy))), 0.0, ok, remark)
    assert theirs.steps is not None, "the reference's logits were asked for"
    gap = float(theirs.steps[first, theirs.greedy[first]] - theirs.steps[first, ours[first]])
    tied = not exact and gap <= 2 * logit_tolerance
    remark = f"token {first + 1} is {ours[first]}, the reference's {theirs.greedy[first]}"
    remark += f", a tie within rounding (logits {gap:.3g} apart)" if tied else ""
    return Check("greedy tokens", (len(ours),), float(len(ours) - first), 0.0, tied, remark)
