"""Qwen2-Audio against transformers: features, every stage, logits, answers; base and Instruct, one clip to three."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from auricle.checkpoint import Checkpoint
from auricle.engine import embed
from auricle.errors import SoundError
from auricle.models.family import Part, open_family, read_one
from auricle.models.qwen2_audio.family import Qwen2AudioFamily
from auricle.models.qwen2_audio.features import AFTER
from auricle.types import Ask, Audio, Extraction, Message, Sampling
from tests.engine.scripted import stream
from tests.parity.pair import CPU, difference
from tests.parity.sounds import KINDS, RATE, Samples, babble, clicks, noise, silence, tone
from tests.qwen2_audio import IDS, make_qwen2_audio

FEATURES, ENCODER, LOGITS = 1e-4, 1e-4, 1e-3
QUESTION = "Which is louder?"
CLIPS = {
    "one": [babble(30_000)],
    "two": [tone(12_345), noise(321)],
    "three": [silence(700), babble(50_001), clicks(9_999)],
}
# One token; the last length before a token more and the first after it; a whole clip, and the last lengths before it,
# where frames of silence behind the sound run out.
LENGTHS = [321, 480, 481, 640, 641, 960, 961, 1280, 1281, 16_000, 100_003]
LENGTHS += [479_520, 479_521, 479_680, 479_681, 479_840, 479_841, 479_999, 480_000]
NAMES = ["instruct", "base", "grouped"]


@dataclass(frozen=True, repr=False)
class Pair:
    ours: Qwen2AudioFamily
    theirs: Any  # Qwen2AudioForConditionalGeneration
    processor: Any  # Qwen2AudioProcessor

    def inputs(self, clips: Sequence[Samples], text: str = QUESTION) -> Any:
        """What transformers' own processor makes of a user's turn."""
        content = [*({"type": "audio"} for _ in clips), {"type": "text", "text": text}]
        if self.ours.instruct:
            turn = [{"role": "user", "content": content}]
            prompt = self.processor.apply_chat_template(turn, add_generation_prompt=True, tokenize=False)
        else:
            prompt = "<|audio_bos|><|AUDIO|><|audio_eos|>" * len(clips) + text
        return self.processor(text=prompt, audio=list(clips), sampling_rate=RATE, return_tensors="pt")

    def ids(self, clips: Sequence[Samples], text: str = QUESTION) -> list[int]:
        message = Message("user", (*(Audio(clip, RATE) for clip in clips), text))
        return self.ours.prompt([message], [self.ours.audio_tokens(len(clip)) for clip in clips]).ids

    def encoded(self, clips: Sequence[Samples]) -> Tensor:
        with torch.inference_mode():
            return torch.cat([self.ours.encode(self.ours.features(clip)) for clip in clips])

    def logits(self, clips: Sequence[Samples]) -> Tensor:
        ids = self.ids(clips)
        with torch.inference_mode():
            return read_one(self.ours, ids, self.encoded(clips), self.ours.new_cache(), wanted=len(ids))

    def reference(self, clips: Sequence[Samples]) -> Any:
        with torch.inference_mode():
            return self.theirs(**self.inputs(clips), output_hidden_states=True)

    def reference_stages(self, clip: Samples) -> dict[str, Tensor]:
        """Theirs, by hooks, of what isn't filling: encoder `(blocks + 1, positions, width)`, tower, projector."""
        found: dict[str, list[Tensor]] = {"encoder": [], "tower": [], "projector": []}

        def keep(name: str) -> Any:
            return lambda *given: found[name].append(getattr(given[-1], "last_hidden_state", given[-1]))

        model = self.theirs.model
        hooks = [model.audio_tower.layers[0].register_forward_pre_hook(lambda _, a: found["encoder"].append(a[0]))]
        hooks += [layer.register_forward_hook(keep("encoder")) for layer in model.audio_tower.layers]
        hooks += [model.audio_tower.register_forward_hook(keep("tower"))]
        hooks += [model.multi_modal_projector.register_forward_hook(keep("projector"))]
        self.reference([clip])
        for hook in hooks:
            hook.remove()
        frames = -(-len(clip) // 160)
        held = (frames - 1) // 2 + 1
        pooled = (held - 2) // 2 + 1
        return {
            "encoder": torch.cat(found["encoder"])[:, :held],
            "tower": found["tower"][0][:, :pooled],
            "projector": found["projector"][0][:, :pooled],
        }


def load_pair(folder: Path, dtype: str = "float32") -> Pair:
    from transformers import Qwen2AudioForConditionalGeneration, Qwen2AudioProcessor

    ours = open_family(Checkpoint(folder))
    assert isinstance(ours, Qwen2AudioFamily)
    ours.load(CPU, getattr(torch, dtype))
    theirs = Qwen2AudioForConditionalGeneration.from_pretrained(folder, dtype=getattr(torch, dtype)).eval()
    return Pair(ours, theirs, Qwen2AudioProcessor.from_pretrained(folder))


@pytest.fixture(scope="module")
def qwens(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Pair]:
    folder = tmp_path_factory.mktemp("qwen2_audio")
    rope = {"rope_type": "default", "rope_theta": 1e6}
    settings: dict[str, dict[str, Any]] = {
        "instruct": {},
        "base": {"instruct": False, "seed": 1},
        "grouped": {"num_key_value_heads": 2, "seed": 2, "rope_parameters": rope},
    }
    return {name: load_pair(make_qwen2_audio(folder / name, **settings[name])) for name in NAMES}


@pytest.fixture(params=NAMES)
def qwen(request: pytest.FixtureRequest, qwens: dict[str, Pair]) -> Pair:
    return qwens[request.param]


@pytest.fixture
def instruct(qwens: dict[str, Pair]) -> Pair:
    return qwens["instruct"]


# --- features and encoder


def reference_mel(pair: Pair, clip: Samples) -> np.ndarray:
    """`(3000, mels)`."""
    return np.asarray(pair.inputs([clip])["input_features"][0].T)


@pytest.mark.parametrize("kind", KINDS)
def test_features_of_kinds_of_sound(instruct: Pair, kind: str) -> None:
    clip = KINDS[kind](40_000)
    ours = instruct.ours.features(clip)
    assert difference(ours, reference_mel(instruct, clip)[: len(ours)]) <= FEATURES


@pytest.mark.parametrize("samples", LENGTHS)
def test_lengths(instruct: Pair, samples: int) -> None:
    clip = babble(samples)
    ours, theirs = instruct.ours.features(clip), reference_mel(instruct, clip)
    frames = -(-samples // 160)
    assert len(ours) == frames + AFTER
    assert difference(ours[:3000], theirs[: len(ours)]) <= FEATURES
    expected = instruct.reference_stages(clip)["projector"][0]
    encoded = instruct.encoded([clip])
    assert len(encoded) == instruct.ours.audio_tokens(samples) == len(expected)
    assert difference(encoded, expected) <= ENCODER


def test_every_count_of_frames_up_to_a_second(instruct: Pair) -> None:
    for frames in range(3, 100, 7):
        clip = noise(160 * frames - 80, seed=frames)
        expected = instruct.reference_stages(clip)["projector"][0]
        assert difference(instruct.encoded([clip]), expected) <= ENCODER, frames


def test_30_s_are_750_tokens_and_fewer_than_one_are_an_error(instruct: Pair) -> None:
    assert instruct.ours.audio_tokens(480_000) == 750
    assert instruct.ours.audio_tokens(321) == 1
    with pytest.raises(SoundError, match=r"has 320 samples at 16000 Hz; the model needs at least 321 \(20.1 ms\)"):
        instruct.ours.features(noise(320))
    with pytest.raises(SoundError, match=r"30.00 s long; the model takes at most 30 s a clip"):
        instruct.ours.features(noise(480_001))


def test_the_encoder_hears(instruct: Pair) -> None:
    """Guards the bounds above: the numbers compared are of the size 1 and differ between sounds."""
    one, other = instruct.encoded([babble(40_000)]), instruct.encoded([noise(40_000)])
    assert 0.3 < float(one.std()) < 3
    assert difference(one, other) > 0.5


# --- the decoder


def test_the_prompt_is_the_processor_s(qwen: Pair) -> None:
    for clips in CLIPS.values():
        assert qwen.ids(clips) == qwen.inputs(clips)["input_ids"][0].tolist()


def test_a_conversation_counts_its_clips(instruct: Pair) -> None:
    one, two = CLIPS["two"]
    turns = [
        Message("system", ("Be brief.",)),
        Message("user", (Audio(one, RATE), "What is it?")),
        Message("assistant", ("A tone.",)),
        Message("user", ("And this?", Audio(two, RATE))),
    ]
    ours = instruct.ours.prompt(turns, [instruct.ours.audio_tokens(len(clip)) for clip in (one, two)])
    theirs = [
        {"role": "system", "content": [{"type": "text", "text": "Be brief."}]},
        {"role": "user", "content": [{"type": "audio"}, {"type": "text", "text": "What is it?"}]},
        {"role": "assistant", "content": [{"type": "text", "text": "A tone."}]},
        {"role": "user", "content": [{"type": "text", "text": "And this?"}, {"type": "audio"}]},
    ]
    text = instruct.processor.apply_chat_template(theirs, add_generation_prompt=True, tokenize=False)
    inputs = instruct.processor(text=text, audio=[one, two], sampling_rate=RATE, return_tensors="pt")
    assert ours.ids == inputs["input_ids"][0].tolist()
    assert "Audio 2: <|audio_bos|>" in "".join(ours.layout)


@pytest.mark.parametrize("clips", CLIPS)
def test_logits(qwen: Pair, clips: str) -> None:
    sounds = CLIPS[clips]
    theirs = qwen.reference(sounds).logits[0]
    assert difference(qwen.logits(sounds), theirs) <= LOGITS
    assert float(theirs.std()) > 0.5


def test_logits_of_the_longest_clip(instruct: Pair) -> None:
    sounds = [babble(480_000)]
    assert len(instruct.ids(sounds)) > 750
    assert difference(instruct.logits(sounds), instruct.reference(sounds).logits[0]) <= LOGITS


def test_several_requests_in_a_pass_get_what_each_gets_alone(qwen: Pair) -> None:
    prompts = [(qwen.ids(clips), qwen.encoded(clips)) for clips in CLIPS.values()]
    wanted = [1, 5, len(prompts[2][0])]
    parts = [
        Part(qwen.ours.new_cache(), ids, audio, count) for (ids, audio), count in zip(prompts, wanted, strict=True)
    ]
    with torch.inference_mode():
        together = qwen.ours.read(parts)
    for given, count, clips in zip(together, wanted, CLIPS.values(), strict=True):
        assert difference(given, qwen.reference(clips).logits[0, -count:]) <= LOGITS


def test_bit_by_bit_on_one_cache_that_is_cut_back_and_forked(instruct: Pair) -> None:
    ids = [int(id) for id in np.random.default_rng(0).integers(0, 255, 60)]
    with torch.inference_mode():
        expected = instruct.theirs(input_ids=torch.tensor([ids])).logits[0]
        cache = instruct.ours.new_cache()
        read_one(instruct.ours, ids[:40], None, cache)
        read_one(instruct.ours, ids[:7], None, cache)  # another's words, taken back
        cache.truncate(40)
        fork = cache.fork(30)
        assert difference(read_one(instruct.ours, ids[30:], None, fork, wanted=30), expected[30:]) <= LOGITS
        assert difference(read_one(instruct.ours, ids[40:], None, cache)[0], expected[-1]) <= LOGITS


@pytest.mark.parametrize("clips", CLIPS)
def test_the_same_64_greedy_tokens(qwen: Pair, monkeypatch: pytest.MonkeyPatch, clips: str) -> None:
    sounds = CLIPS[clips]
    monkeypatch.setattr(qwen.ours, "stop_ids", frozenset())
    message = Message("user", (*(Audio(clip, RATE) for clip in sounds), QUESTION))
    *_, last = stream(qwen.ours, [message], Sampling(max_tokens=64))
    inputs = qwen.inputs(sounds)
    with torch.inference_mode():
        out = qwen.theirs.generate(**inputs, max_new_tokens=64, do_sample=False, eos_token_id=None)
    assert last.answer is not None
    assert list(last.answer.tokens) == out[0, inputs["input_ids"].shape[1] :].tolist()
    assert len(set(last.answer.tokens)) > 3  # not one token for ever, which any two programs would agree on


def test_what_ends_an_answer(qwens: dict[str, Pair]) -> None:
    assert qwens["instruct"].ours.stop_ids == {IDS["<|im_end|>"], IDS["<|endoftext|>"]}
    assert qwens["base"].ours.stop_ids == {IDS["<|endoftext|>"]}


@pytest.mark.parametrize("dtype", ["bfloat16", "float16"])
def test_half_precision_rounds_no_worse_than_the_reference(tmp_path: Path, dtype: str) -> None:
    folder = make_qwen2_audio(tmp_path, dtype=dtype, seed=3)
    exact, rounded = load_pair(folder), load_pair(folder, dtype)
    sounds = CLIPS["three"]
    expected = exact.reference(sounds).logits[0]
    ours = (rounded.logits(sounds) - expected).square().mean().sqrt()
    theirs = (rounded.reference(sounds).logits[0].float() - expected).square().mean().sqrt()
    assert 0 < ours <= 1.5 * theirs


# --- representations


def embedded(pair: Pair, clips: Sequence[Samples], **options: Any) -> list[Any]:
    audios = [Audio(clip, RATE) for clip in clips]
    with torch.inference_mode():
        return embed.embed(pair.ours, nullcontext, audios, Extraction(prompt=QUESTION, order="audio-first", **options))


@pytest.mark.parametrize("stage", ["encoder", "tower", "projector"])
@pytest.mark.parametrize("samples", [321, 33_333, 480_000])
def test_every_layer_before_the_decoder(instruct: Pair, stage: str, samples: int) -> None:
    clip = babble(samples)
    (found,) = embedded(instruct, [clip], stage=stage, layers="all" if stage == "encoder" else "-1")
    expected = instruct.reference_stages(clip)[stage]
    assert difference(found.vectors, expected) <= ENCODER
    step = 0.02 if stage == "encoder" else 0.04
    assert np.allclose(found.start_s, step * np.arange(expected.shape[1]), atol=1e-9)
    assert np.allclose(found.end_s, found.start_s + step, atol=1e-9)


def test_clips_of_unequal_length_in_a_batch(instruct: Pair) -> None:
    clips = [babble(33_333), noise(321), tone(480_000), clicks(80_001), babble(33_661)]
    for stage in ("encoder", "tower", "projector"):
        for found, clip in zip(embedded(instruct, clips, stage=stage), clips, strict=True):
            assert difference(found.vectors[0], instruct.reference_stages(clip)[stage][-1]) <= ENCODER


def test_every_layer_of_the_decoder(instruct: Pair) -> None:
    for clip in (babble(33_333), noise(321)):
        expected = torch.cat(instruct.reference([clip]).hidden_states)
        (found,) = embedded(instruct, [clip], stage="llm", layers="all", tokens="all")
        assert difference(found.vectors, expected) <= ENCODER


def test_what_is_said_of_shapes_elsewhere_is_wrong(instruct: Pair) -> None:
    """Of a 30 s clip with the base prompt: 10 ms frames, 40 ms tokens, an average, one forward pass."""
    clip = babble(480_000)
    inputs = instruct.processor(
        text="<|audio_bos|><|AUDIO|><|audio_eos|>Hm?", audio=[clip], sampling_rate=RATE, return_tensors="pt"
    )
    assert inputs["input_features"].shape[-1] == 3000  # of 10 ms, not 40
    held = (inputs["input_ids"][0] == instruct.ours.placeholder).sum()
    assert held == 750  # and not 749: one of the words before it was counted as text, the placeholder
    assert inputs["input_ids"].shape[1] - held == 2 + len("Hm?")
    with torch.inference_mode():
        out = instruct.theirs.generate(
            **inputs, max_new_tokens=3, do_sample=False, return_dict_in_generate=True, output_hidden_states=True
        )
    blocks = instruct.ours.config.text.num_hidden_layers
    assert len(out.hidden_states) == 3  # steps of generation, not layers
    assert all(len(step) == blocks + 1 for step in out.hidden_states)
    embedding = instruct.theirs.get_input_embeddings().weight[out.sequences[0, -2]].detach()
    assert difference(out.hidden_states[-1][0][0, 0], embedding) == 0  # no summary: the last fed token's embedding
    ask = Ask((Message("user", (Audio(clip, RATE), "Hm?")),))
    with torch.inference_mode():
        found = embed.hidden_states(instruct.ours, nullcontext, ask, "all")
    assert found.values.shape[0] == blocks + 1
    assert [token.kind for token in found.tokens].count("audio") == 750
    stages = instruct.reference_stages(clip)
    pairs = stages["encoder"][-1].unflatten(0, (750, 2))
    norm = instruct.ours.model.audio_tower.layer_norm
    with torch.inference_mode():
        assert difference(norm(pairs.mean(1)), stages["tower"][0]) <= 1e-5  # an average ...
        assert difference(norm(pairs[:, 0]), stages["tower"][0]) > 0.1  # ... and nothing is dropped
