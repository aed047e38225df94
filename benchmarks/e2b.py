"""Gemma 4 E2B at its full size, every scheme of ours against transformers and llama.cpp, in one run and in turns.

    python -m benchmarks.e2b --llama-bench PATH --llama-mtmd-cli PATH --gguf FILE --mmproj FILE

makes the folders of random weights first (21 GB, once; `--work` says where). Without llama.cpp's four, it is left out.
It is what `auricle bench` does, for several schemes at once. Close everything else first: the machine's load is written
down with the figures. `--preset small` tries the script itself in seconds; its figures mean nothing.
"""

from __future__ import annotations

import argparse
import json
import os
from pathlib import Path

from auricle.bench import machine
from auricle.bench.llama import LlamaFiles
from auricle.bench.making import SCHEMES, default_work, make
from auricle.bench.presets import PRESETS
from auricle.bench.run import Settings, llama_cpp, measure, ours, transformers
from benchmarks import tables

LLAMA = ("llama_bench", "llama_mtmd_cli", "gguf", "mmproj")


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    load_average = machine.load_average()
    settings = Settings(runs=options.runs, threads=options.threads)
    files = {name: getattr(options, name) for name in LLAMA}
    llama = LlamaFiles(**files) if any(files.values()) else None
    folders = {scheme: make(options.preset, scheme, options.work) for scheme in (*options.schemes, "bf16")}
    own = {scheme: ours(folders[scheme], settings) for scheme in options.schemes}
    peers = {"llama.cpp": llama_cpp(llama, settings)} if llama else {}
    peers["transformers"] = transformers(folders["bf16"], settings)
    result = measure(own, peers, settings, load_average=load_average, said=lambda line: print(line, flush=True))
    result = {"benchmark": "e2b", "preset": options.preset, **result}
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("\n" + tables.e2b(result))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--preset", choices=sorted(PRESETS), default="gemma-4-e2b")
    parser.add_argument("--schemes", nargs="+", choices=SCHEMES, default=["int4", "int8", "bf16"])
    parser.add_argument("--work", type=Path, default=default_work(), help="where folders of random weights are kept")
    parser.add_argument("--runs", type=int, default=5, help="measured rounds, after one that warms up")
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--results", type=Path, default=tables.RESULTS / "e2b.json", help="the JSON to write")
    for name in LLAMA:
        parser.add_argument(f"--{name.replace('_', '-')}", type=Path, help="see `auricle bench --help`")
    return parser


if __name__ == "__main__":
    main()
