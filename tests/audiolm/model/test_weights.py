"""Models in folders, and checkpoints of VALL-E's AudioLM, which are built here as its own trainer writes them."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from auricle.audiolm.model.batch import Batch
from auricle.audiolm.model.delay import delayed
from auricle.audiolm.model.lm import AudioLM
from auricle.audiolm.model.prompt import Prompt
from auricle.audiolm.model.sampling import TokenSampling
from auricle.audiolm.model.weights import load, load_valle, save, valle_fields
from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError
from tests.audiolm.model.small import KINDS, SIZE, batch, codes, model

WIDTH, HEADS, LAYERS, BOOKS = 32, 4, 2, 4


@pytest.mark.parametrize("kind", KINDS)
def test_there_and_back(tmp_path: Path, kind: str) -> None:
    lm = model(kind)
    save(lm, tmp_path / "new" / "folder")
    found = load(tmp_path / "new" / "folder")
    assert found.config == lm.config
    assert not found.training
    for name, tensor in lm.state_dict().items():
        assert torch.equal(found.state_dict()[name], tensor), name
    assert torch.equal(found.evaluate(batch()).nll_sums, lm.evaluate(batch()).nll_sums)
    assert sorted(path.name for path in (tmp_path / "new" / "folder").iterdir()) == ["config.json", "model.safetensors"]
    checkpoint = Checkpoint(tmp_path / "new" / "folder")
    assert checkpoint.config["model_type"] == "auricle_audiolm"
    assert checkpoint.tensors.keys() == lm.state_dict().keys()


def test_types(tmp_path: Path) -> None:
    lm = model()
    save(lm, tmp_path, dtype=torch.bfloat16)
    assert {info.dtype for info in Checkpoint(tmp_path).tensors.values()} == {"BF16"}
    assert {weight.dtype for weight in lm.parameters()} == {torch.float32}
    assert {weight.dtype for weight in load(tmp_path).parameters()} == {torch.bfloat16}
    found = load(tmp_path, dtype=torch.float32)
    assert {weight.dtype for weight in found.parameters()} == {torch.float32}
    assert torch.equal(found.ar_predict_layer.weight, lm.ar_predict_layer.weight.bfloat16().float())


def test_a_loaded_model_can_be_trained_and_saved_over(tmp_path: Path) -> None:
    save(model(), tmp_path)
    found = load(tmp_path).train()
    found.evaluate(batch()).total.backward()
    with torch.no_grad():
        for weight in found.parameters():
            assert weight.grad is not None
            weight -= weight.grad
    save(found, tmp_path)  # over what it was mapped from
    assert torch.equal(load(tmp_path).ar_predict_layer.weight, found.ar_predict_layer.weight)


def edited(folder: Path, edit: Callable[[dict[str, Tensor]], None]) -> None:
    tensors = load_file(folder / "model.safetensors")
    edit(tensors)
    save_file(tensors, folder / "model.safetensors")


@pytest.mark.parametrize(
    ("edit", "said"),
    [
        (lambda tensors: tensors.pop("ar_predict_layer.weight"), "lacks 1 of .* ar_predict_layer.weight"),
        (lambda tensors: tensors.update(more=torch.zeros(1)), "no place for, more"),
        (
            lambda tensors: tensors.update({"ar_predict_layer.weight": torch.zeros(3, 3)}),
            r"ar_predict_layer.weight as \(3, 3\)",
        ),
        (
            lambda tensors: tensors.update(
                {"ar_decoder.norm.weight": torch.zeros_like(tensors["ar_decoder.norm.weight"], dtype=torch.int32)}
            ),
            "ar_decoder.norm.weight in torch.int32",
        ),
    ],
)
def test_tensors_that_are_not_the_configs(tmp_path: Path, edit: Callable[[dict[str, Tensor]], None], said: str) -> None:
    save(model(), tmp_path)
    edited(tmp_path, edit)
    with pytest.raises(CheckpointError, match=said):
        load(tmp_path)


def test_another_models_folder(tmp_path: Path) -> None:
    save(model(), tmp_path)
    (tmp_path / "config.json").write_text(json.dumps({"model_type": "gemma4"}))
    with pytest.raises(CheckpointError, match="gemma4"):
        load(tmp_path)
    with pytest.raises(CheckpointError, match="no such folder"):
        load(tmp_path / "nowhere")


class Seed(nn.Module):
    """VALL-E's network in torch's own modules: names and arithmetic, its mask and its positions; no dropout."""

    def __init__(self, bos: bool) -> None:
        super().__init__()

        def table(size: int) -> nn.ModuleDict:
            return nn.ModuleDict({"word_embeddings": nn.Embedding(size, WIDTH)})

        def position() -> nn.ParameterDict:
            return nn.ParameterDict({"alpha": torch.rand(1) + 0.5})

        layer = nn.TransformerEncoderLayer(WIDTH, HEADS, 4 * WIDTH, 0.0, batch_first=True, norm_first=True)
        last = nn.LayerNorm(WIDTH)
        self.ar_audio_embedding = table(SIZE + 1 + int(bos))
        self.ar_prompt_embeddings = nn.ModuleList([table(SIZE) for _ in range(BOOKS)])
        self.ar_prompt_position, self.ar_audio_position = position(), position()
        self.ar_decoder = nn.TransformerEncoder(layer, LAYERS, last, enable_nested_tensor=False)
        self.ar_predict_layer = nn.Linear(WIDTH, SIZE + 1, bias=False)
        self.nar_prompt_embeddings = nn.ModuleList([table(SIZE) for _ in range(BOOKS)])
        self.nar_audio_embeddings = nn.ModuleList([table(SIZE + int(k == 0)) for k in range(BOOKS)])
        self.nar_prompt_position, self.nar_audio_position = position(), position()
        self.nar_decoder = nn.ModuleDict(
            {
                "layers": nn.ModuleList([self._adaptive_layer() for _ in range(LAYERS)]),
                "norm": self._adaptive_norm(),
            }
        )
        self.nar_predict_layers = nn.ModuleList([nn.Linear(WIDTH, SIZE, bias=False) for _ in range(BOOKS - 1)])
        self.nar_stage_embeddings = nn.ModuleList([table(1) for _ in range(BOOKS - 1)])
        with torch.no_grad():
            self.nar_prompt_position["alpha"].fill_(1.0)  # VALL-E's doesn't learn these
            self.nar_audio_position["alpha"].fill_(1.0)
            for weight in self.ar_decoder.parameters():
                weight += 0.1 * torch.randn_like(weight)

    def _adaptive_norm(self) -> nn.ModuleDict:
        return nn.ModuleDict({"project_layer": nn.Linear(WIDTH, 2 * WIDTH), "norm": nn.LayerNorm(WIDTH)})

    def _adaptive_layer(self) -> nn.ModuleDict:
        return nn.ModuleDict(
            {
                "self_attn": nn.MultiheadAttention(WIDTH, HEADS, batch_first=True),
                "linear1": nn.Linear(WIDTH, 4 * WIDTH),
                "linear2": nn.Linear(4 * WIDTH, WIDTH),
                "norm1": self._adaptive_norm(),
                "norm2": self._adaptive_norm(),
            }
        )

    def ar_logits(self, prompt: Tensor, read: Tensor) -> Tensor:
        """`(frames, books)` and `(steps,)` -> `(steps, size + 1)`."""
        alpha = self.ar_audio_position["alpha"]  # which VALL-E's gives the prompt, too
        x = sum(table["word_embeddings"](prompt[:, k]) for k, table in enumerate(self.ar_prompt_embeddings))
        y = self.ar_audio_embedding["word_embeddings"](read)
        both = torch.cat([x + alpha * sines(len(x)), y + alpha * sines(len(y))])[None]
        hidden = torch.ones(both.shape[1], both.shape[1], dtype=torch.bool).triu(1)
        hidden[:, : len(x)] = False
        hidden[: len(x), len(x) :] = True
        return self.ar_predict_layer(self.ar_decoder(both, mask=hidden))[0, len(x) :]

    def nar_logits(self, prompt: Tensor, target: Tensor, codebook: int) -> Tensor:
        """`(frames, books)` each -> `(target frames, size)`."""
        x = sum(table["word_embeddings"](prompt[:, k]) for k, table in enumerate(self.nar_prompt_embeddings))
        y = sum(self.nar_audio_embeddings[k]["word_embeddings"](target[:, k]) for k in range(codebook))
        h = torch.cat([x + sines(len(x)), y + sines(len(y))])[None]
        stage = self.nar_stage_embeddings[codebook - 1]["word_embeddings"].weight

        def normed(norm: Any, x: Tensor) -> Tensor:
            weight, bias = norm["project_layer"](stage).chunk(2, dim=-1)
            return weight * norm["norm"](x) + bias

        for layer in self.nar_decoder["layers"]:
            a = normed(layer["norm1"], h)
            h = h + layer["self_attn"](a, a, a, need_weights=False)[0]
            h = h + layer["linear2"](torch.relu(layer["linear1"](normed(layer["norm2"], h))))
        return self.nar_predict_layers[codebook - 1](normed(self.nar_decoder["norm"], h))[0, len(x) :]


def sines(frames: int) -> Tensor:
    places = torch.zeros(frames, WIDTH)
    for pair in range(WIDTH // 2):
        angle = torch.arange(frames) * math.exp(-math.log(10_000) * 2 * pair / WIDTH)
        places[:, 2 * pair], places[:, 2 * pair + 1] = angle.sin(), angle.cos()
    return places


def seed_file(folder: Path, bos: bool = False, **more: object) -> tuple[Path, Seed]:
    torch.manual_seed(0)
    seed = Seed(bos)
    path = folder / "best-valid-loss.pt"
    torch.save({"model": seed.state_dict(), "optimizer": {}, "exp_dir": Path("exp"), **more}, path)
    return path, seed


@pytest.mark.parametrize("bos", [False, True])
def test_a_seeds_checkpoint_computes_what_the_seed_computed(tmp_path: Path, bos: bool) -> None:
    path, seed = seed_file(tmp_path, bos)
    fields = valle_fields(path)
    assert fields["prepend_bos"] is bos
    lm = AudioLM(**fields, nhead=HEADS).eval()
    with torch.no_grad():
        lm.ar_part_embedding.weight.fill_(1.0)  # as a model's that has learned something
    report = load_valle(path, lm)
    assert report.zeroed == ("ar_part_embedding.weight", "nar_part_embedding.weight")
    assert not report.missing
    assert not report.partly
    assert sorted(one.partition(":")[0] for one in report.left_out) == [
        "ar_prompt_position.alpha",  # which VALL-E's code has and doesn't use
        "nar_audio_embeddings.3.word_embeddings.weight",  # the same
        "nar_prompt_position.alpha",  # always 1
    ]
    prompt, target = codes(6, 1), codes(5, 2)
    given = Batch.of([Prompt(prompt)], [target])
    ids = delayed(given.target_codes[..., :1], given.target_lens, 6, lm.config.start, late=1)
    with torch.no_grad():
        ours = lm.ar_logits(lm.ar_hidden(given, ids), 0)[0]
        theirs = seed.ar_logits(prompt, ids[0, :, 0] if bos else ids[0, 1:, 0])
        assert torch.allclose(ours if bos else ours[1:], theirs, atol=1e-4)
        for codebook in range(1, BOOKS):
            hidden = lm.nar_hidden(given, lm.nar_prompt(given), lm.nar_target(given.target_codes, codebook), codebook)
            wanted = seed.nar_logits(prompt, target, codebook)
            assert torch.allclose(lm.nar_logits(hidden, codebook)[0], wanted, atol=1e-4)
    assert lm.generate([Prompt(prompt)], 4, TokenSampling(temperature=0.0))[0].shape[1] == BOOKS


def test_a_seeds_checkpoint_in_our_own_model(tmp_path: Path) -> None:
    path, seed = seed_file(tmp_path)
    lm = AudioLM(WIDTH, HEADS, LAYERS, codebook_size=SIZE)
    before = lm.ar_audio_embedding.weight[-1].clone()
    report = load_valle(path, lm)
    assert report.partly == ("ar_audio_embedding.word_embeddings.weight",)
    table = seed.ar_audio_embedding["word_embeddings"].weight
    assert torch.equal(lm.ar_audio_embedding.weight[:-1], table)
    assert torch.equal(lm.ar_audio_embedding.weight[-1], before)  # BOS, which it doesn't have
    assert torch.equal(lm.ar_decoder.layers[1].linear2.weight, seed.ar_decoder.layers[1].linear2.weight)
    assert any(one.startswith("nar_predict_layers.0.weight: the model has no") for one in report.left_out)


def test_what_does_not_fit_is_said_by_name(tmp_path: Path) -> None:
    path, _ = seed_file(tmp_path)
    state = Seed(False).state_dict()
    state["ar_decoder.layers.0.linear1.bias"] = torch.zeros(3)
    torch.save({"model": {f"module.{name}": one for name, one in state.items()}}, path)
    lm = AudioLM(**{**valle_fields(path), "nhead": HEADS, "num_layers": 3, "nar_layers": 3})
    report = load_valle(path, lm)
    assert any(one.startswith("ar_decoder.layers.0.linear1.bias: is (3,)") for one in report.left_out)
    assert "ar_decoder.layers.0.linear1.bias" in report.missing
    assert "ar_decoder.layers.2.linear1.bias" in report.missing
    assert torch.equal(lm.ar_decoder.layers[1].linear1.bias, state["ar_decoder.layers.1.linear1.bias"])


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"codebook_size": 64}, f"4 codebooks of {SIZE} codes; the model has 4 of 64"),
        ({"num_quantizers": 2}, f"4 codebooks of {SIZE} codes; the model has 2 of"),
        ({"d_model": 64}, "no tensor that fits"),
    ],
)
def test_a_checkpoint_of_another_model(tmp_path: Path, fields: dict[str, Any], said: str) -> None:
    path, _ = seed_file(tmp_path)
    lm = AudioLM(**{"d_model": WIDTH, "nhead": HEADS, "num_layers": LAYERS, "codebook_size": SIZE, **fields})
    before = {name: tensor.clone() for name, tensor in lm.state_dict().items()}
    with pytest.raises(CheckpointError, match=said):
        load_valle(path, lm)
    assert all(torch.equal(tensor, before[name]) for name, tensor in lm.state_dict().items())


class Code:
    """Something that runs when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return print, ("this was run",)


def test_files_that_are_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "x.pt"
    with pytest.raises(CheckpointError, match="check the path"):
        valle_fields(path)
    path.write_bytes(b"RIFF and so on")
    with pytest.raises(CheckpointError, match=r"x\.pt"):
        valle_fields(path)
    path.write_bytes(b"")
    with pytest.raises(CheckpointError, match=r"x\.pt"):
        valle_fields(path)
    whole, _ = seed_file(tmp_path)
    path.write_bytes(whole.read_bytes()[:5000])
    with pytest.raises(CheckpointError, match=r"x\.pt"):
        valle_fields(path)
    for content in ({"weights": {}}, [1, 2], {"model": {"a": 1}}):
        torch.save(content, path)
        with pytest.raises(CheckpointError, match="no 'model'"):
            valle_fields(path)
    torch.save({"model": {"conv.weight": torch.zeros(3)}}, path)
    with pytest.raises(CheckpointError, match="no AudioLM's"):
        valle_fields(path)
    torch.save({"model": Code()}, path)
    with pytest.raises(CheckpointError, match=r"would have to run code for it: print"):
        valle_fields(path)
    assert "this was run" not in capsys.readouterr().out
