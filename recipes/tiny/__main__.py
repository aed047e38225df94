"""Make the built-in model `tiny` from nothing: `python -m recipes.tiny`.

Stages, each skipped when its result is there and resumed where it was stopped:

    synth      speech with its times, and other sounds, by espeak-ng and numpy     about 10 minutes on two cores
    encoder    the encoder learns phonemes and words, token by token               --encoder-minutes
    decoder    encoder and decoder learn to answer                                 --decoder-minutes
    export     an ordinary checkpoint folder in bfloat16                           seconds
    evaluate   held-out voices and sentences, through the library                  about 10 minutes
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

from recipes.tiny import evaluate, export, synth, train_decoder, train_encoder

STAGES = ("synth", "encoder", "decoder", "export", "evaluate")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--work", type=Path, default=Path("recipes/tiny/work"), help="data and checkpoints")
    parser.add_argument("--out", type=Path, default=Path("src/auricle/assets/tiny"), help="the exported model")
    parser.add_argument("--results", type=Path, default=Path("benchmarks/results/tiny.json"))
    parser.add_argument("--from", dest="first", choices=STAGES, default="synth", help="start at this stage")
    parser.add_argument("--speech", type=int, default=60_000, help="spoken clips to synthesise")
    parser.add_argument("--other", type=int, default=8_000, help="other clips to synthesise")
    parser.add_argument("--encoder-minutes", type=float, default=20)
    parser.add_argument("--decoder-minutes", type=float, default=150)
    parser.add_argument("--limit", type=int, default=1000, help="clips for each measure of the evaluation")
    parser.add_argument("--seed", type=int, default=1)
    a = parser.parse_args()
    for stage in STAGES[STAGES.index(a.first) :]:
        print(f"== {stage}", flush=True)
        if stage == "synth":
            synth.make(a.work / "data", speech=a.speech, other=a.other, seed=a.seed)
        elif stage == "encoder":
            train_encoder.train(a.work / "data", a.work, a.encoder_minutes, a.seed)
        elif stage == "decoder":
            train_decoder.train(a.work, a.decoder_minutes, a.seed)
        elif stage == "export":
            export.export(a.work, a.out)
        else:
            result = evaluate.evaluate(str(a.out), a.work / "data", a.limit)
            a.results.parent.mkdir(parents=True, exist_ok=True)
            a.results.write_text(json.dumps(result, indent=2) + "\n")


if __name__ == "__main__":
    main()
