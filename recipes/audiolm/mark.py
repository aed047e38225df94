"""Tells a folder of tokens where a second instrument takes over: those items are split there, and follow their end.

python -m recipes.audiolm.mark TOKENS MELODIES
"""

from __future__ import annotations

import argparse
import gzip
import json
from pathlib import Path

from auricle.audiolm.data.cuts import manifest_name
from auricle.jobs.folder import replaced


def mark(tokens: Path, melodies: Path) -> int:
    """Writes `prompt_s` into the cuts of handed-over melodies; how many those are."""
    known = (json.loads(line) for line in (melodies / "melodies.jsonl").read_text().splitlines())
    handed = {Path(one["file"]).stem: one["handed_s"] for one in known if one["handed_s"] is not None}
    marked = 0
    for split in ("train", "validation", "test"):
        path = tokens / manifest_name(split)
        cuts = [json.loads(line) for line in gzip.decompress(path.read_bytes()).decode().splitlines()]
        for cut in cuts:
            if (at := handed.get(Path(cut["custom"]["source"]).stem)) is not None:
                cut["custom"]["prompt_s"] = round(at, 2)
                marked += 1
        lines = "".join(json.dumps(cut) + "\n" for cut in cuts)
        replaced(path, gzip.compress(lines.encode(), mtime=0))
    return marked


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("tokens", type=Path)
    parser.add_argument("melodies", type=Path)
    given = parser.parse_args()
    print(f"{mark(given.tokens, given.melodies)} items say where their prompt ends")
