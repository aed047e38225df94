"""What fewer bits cost: words that `tiny` gets wrong, and how far logits move on random weights of E2B's size.

    python -m benchmarks.quality

Word error rate is that of `recipes.tiny.evaluate`, dense and in each scheme, on the same held-out clips. The reference
of the logits is the dense model in float32; models are loaded one after the other, the largest takes about 11 GB.
`--preset small --limit 20` tries the script; `--only words` or `--only logits` makes one half and keeps the other.
"""

from __future__ import annotations

import argparse
import gc
import json
import tempfile
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

import auricle
from auricle.backends.native import NativeBackend
from auricle.bench.engines import QUESTION, RATE
from auricle.bench.machine import describe
from auricle.bench.making import default_work, make
from auricle.bench.presets import PRESETS
from auricle.bench.run import sound
from auricle.checkpoint import Checkpoint
from auricle.hub import ModelName, find
from auricle.models.family import read_one
from auricle.quant.quantize import quantize
from auricle.types import Audio, Message
from benchmarks import tables
from recipes.tiny.evaluate import Evaluation

ROOT = Path(__file__).parents[1]
BARS = {"int8": 0.3, "int4": 1.5}  # points of word error rate that a scheme may cost
SECONDS = 30.0
STEPS = 8  # tokens decoded after the prompt, the same for every model


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    before = json.loads(options.results.read_text(encoding="utf-8")) if options.results.is_file() else {}
    found = {half: before[half] for half in ("words", "logits") if half in before}
    if options.only != "logits":
        found["words"] = words(options.data, options.limit)
    if options.only != "words":
        found["logits"] = logits(options.preset, options.work)
    result = {"benchmark": "quality", **describe(), **found}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    if len(found) == 2:
        print("\n" + tables.quality(result))


def words(data: Path, limit: int) -> dict[str, Any]:
    """Word error rate of `tiny`, dense and packed, and what each scheme costs in points."""
    if not any(data.glob("heldout-speech*.jsonl")):
        raise SystemExit(f"{data} holds no held-out clips: make them as recipes/tiny says, or name another with --data")
    source = Checkpoint(find(ModelName("tiny")))
    with tempfile.TemporaryDirectory() as work:
        models = {"dense": str(source.folder)}
        for scheme in BARS:
            quantize(source, scheme, Path(work) / scheme)
            models[scheme] = str(Path(work) / scheme)
        found = {name: Evaluation(model, data, limit).words() for name, model in models.items()}
    schemes = {
        name: {"word_error_rate": one["word_error_rate"], "sentences_exact": one["sentences_exact"]}
        for name, one in found.items()
    }
    for name, bar in BARS.items():
        cost = 100 * (schemes[name]["word_error_rate"] - schemes["dense"]["word_error_rate"])
        schemes[name] |= {"cost_points": cost, "at_most_points": bar, "ok": cost <= bar}
    for name, one in schemes.items():
        cost = f"{one['cost_points']:+.2f} points" if name in BARS else ""
        print(f"{name:6} word error rate {100 * one['word_error_rate']:.2f} % {cost}", flush=True)
    return {
        "model": "tiny",
        "words": found["dense"]["words"],
        "sentences": found["dense"]["sentences"],
        "schemes": schemes,
    }


def logits(preset: str, work: Path) -> dict[str, Any]:
    """Relative errors of logits after a prompt and in decoding, in bfloat16 arithmetic, against float32."""
    reference = _logits(make(preset, "bf16", work), "float32")
    errors = {}
    for scheme in ("bf16", *BARS):
        found = _logits(make(preset, scheme, work), "bfloat16")
        parts = {"prompt": slice(0, 1), "decode": slice(1, None)}
        errors[scheme] = {name: _relative_error(found[part], reference[part]) for name, part in parts.items()}
        print(f"{scheme:6} relative error of logits {errors[scheme]}", flush=True)
    return {
        "preset": preset,
        "seconds": SECONDS,
        "decode_tokens": STEPS,
        "reference": "the bf16 weights in float32 arithmetic",
        "relative_errors": errors,
    }


@torch.inference_mode()
def _logits(folder: Path, dtype: str) -> Tensor:
    """`(1 + STEPS, vocabulary)`: after the prompt, and after each of some given tokens."""
    backend = auricle.load(str(folder), device="cpu", dtype=dtype).backend
    assert isinstance(backend, NativeBackend)
    family = backend.family
    audio = family.encode(family.features(sound(SECONDS)))
    prompt = family.prompt([Message("user", (QUESTION, Audio(sound(SECONDS), RATE)))], [len(audio)])
    cache = family.new_cache()
    rows = [read_one(family, prompt.ids, audio, cache)[-1]]
    rows += [read_one(family, [prompt.ids[i]], None, cache)[-1] for i in range(STEPS)]
    del backend, family, audio, cache
    gc.collect()
    return torch.stack(rows)


def _relative_error(found: Tensor, reference: Tensor) -> float:
    return float((found - reference).norm() / reference.norm())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--only", choices=("words", "logits"))
    parser.add_argument("--data", type=Path, default=ROOT / "recipes/tiny/work/data", help="the held-out clips' folder")
    parser.add_argument("--limit", type=int, default=1000, help="clips")
    parser.add_argument("--preset", choices=sorted(PRESETS), default="gemma-4-e2b")
    parser.add_argument("--work", type=Path, default=default_work(), help="where folders of random weights are kept")
    parser.add_argument("--results", type=Path, default=tables.RESULTS / "quality.json", help="the JSON to write")
    return parser


if __name__ == "__main__":
    main()
