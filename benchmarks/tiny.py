"""How long a fresh process takes: `auricle ask` with the built-in model from its start to its last word, and `--help`.

    python -m benchmarks.tiny

Every run is a whole process; its files are in the system's cache after the first, which is not counted.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
from pathlib import Path
from statistics import median

from auricle.bench.machine import describe

HERE = Path(__file__).parent
AURICLE = [sys.executable, "-c", "from auricle.cli.main import main; main()"]  # what the `auricle` script does
TORCH = [sys.executable, "-c", "import torch"]


def main(arguments: list[str] | None = None) -> None:
    options = _parser().parse_args(arguments)
    ask = [*AURICLE, "ask", str(options.sound), "What does the speaker say?", "--model", options.model]
    seconds = {
        "ask_s": _timed(ask, options.runs),
        "import_torch_s": _timed(TORCH, options.runs),
        "help_s": _timed([*AURICLE, "--help"], options.runs),
    }
    medians = {name: median(times) for name, times in seconds.items()}
    result = {
        "benchmark": "start",
        **describe(),
        "settings": {"runs": options.runs, "model": Path(options.model).name, "sound": options.sound.name},
        "median": medians,
        "share_of_importing_torch": medians["import_torch_s"] / medians["ask_s"],
        "runs": seconds,
    }
    options.results.parent.mkdir(parents=True, exist_ok=True)
    options.results.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    print("\n".join(f"{name:16} {seconds:.3f} s" for name, seconds in medians.items()))


def _timed(command: list[str], runs: int) -> list[float]:
    """Seconds of each run but the first, which only warms the file cache."""
    times = []
    for _ in range(runs + 1):
        begun = time.perf_counter()
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        times.append(time.perf_counter() - begun)
        if done.returncode:
            raise SystemExit(f"{' '.join(command[2:])} ended with {done.returncode}:\n{done.stderr}")
    return times[1:]


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--runs", type=int, default=7)
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--sound", type=Path, default=HERE.parent / "examples" / "sentence.wav")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "start.json", help="the JSON to write")
    return parser


if __name__ == "__main__":
    main()
