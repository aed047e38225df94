"""`tiny-audiolm` as it ships: the best model of a training run, in bfloat16.

python -m recipes.audiolm.export EXP
"""

from __future__ import annotations

import argparse
from pathlib import Path

import torch

from auricle.audiolm.model.weights import load, save

LIMIT = 16_000_000  # bytes, of the whole folder


def export(exp: Path, out: Path) -> None:
    save(load(exp / "best"), out, dtype=torch.bfloat16)
    (out / "model.safetensors").chmod(0o644)
    size = sum(file.stat().st_size for file in out.iterdir())
    print(f"{out}: {size / 1e6:.2f} MB")
    if size > LIMIT:
        raise SystemExit(f"the folder has {size} bytes; it must stay below {LIMIT}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("exp", type=Path)
    parser.add_argument("--out", type=Path, default=Path("src/auricle/assets/tiny-audiolm"))
    given = parser.parse_args()
    export(given.exp, given.out)
