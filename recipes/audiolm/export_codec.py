"""`tiny-codec` as a checkpoint folder that transformers' EncodecModel loads as well, in float16."""

from __future__ import annotations

import argparse
import json
from dataclasses import asdict
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch import Tensor

from auricle.audiolm.codecs.weights import SPELLINGS
from recipes.audiolm.train_codec import CONFIG

LIMIT = 8_000_000  # bytes, of the whole folder


def export(work: Path, out: Path) -> None:
    saved = torch.load(work / "codec.pt", weights_only=True)
    state: dict[str, Tensor] = {}
    for name, tensor in saved["model"].items():
        if name.endswith("conv.weight"):
            norm, direction = (name.removesuffix("weight") + word for word in SPELLINGS[1])
            state[direction] = tensor
            state[norm] = tensor.flatten(1).norm(dim=1).view(-1, 1, 1)
        else:
            state[name] = tensor
    for i in range(CONFIG.codebooks):  # what the reference would go on training from
        stem = f"quantizer.layers.{i}.codebook"
        state[f"{stem}.cluster_size"] = saved["learning"][f"count{i}"]
        state[f"{stem}.embed_avg"] = saved["learning"][f"sum{i}"]
        state[f"{stem}.inited"] = torch.ones(1)
    out.mkdir(parents=True, exist_ok=True)
    halves = {name: tensor.half().contiguous() for name, tensor in state.items()}
    save_file(halves, out / "model.safetensors", metadata={"format": "pt"})
    (out / "model.safetensors").chmod(0o644)  # the library writes it for its owner alone
    config = {"architectures": ["EncodecModel"], "model_type": "encodec", "dtype": "float16", **asdict(CONFIG)}
    (out / "config.json").write_text(json.dumps(config, indent=2) + "\n")
    size = sum(file.stat().st_size for file in out.iterdir())
    print(f"{out}: {size / 1e6:.2f} MB")
    if size > LIMIT:
        raise SystemExit(f"the folder has {size} bytes; it must stay below {LIMIT}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("recipes/audiolm/work"))
    parser.add_argument("--out", type=Path, default=Path("src/auricle/assets/tiny-codec"))
    arguments = parser.parse_args()
    export(arguments.work, arguments.out)
