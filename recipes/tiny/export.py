"""Stage 3: the trained model as an ordinary checkpoint folder, in bfloat16."""

from __future__ import annotations

import argparse
import json
import shutil
from dataclasses import asdict
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import save_file
from tokenizers import Tokenizer

from auricle.models.gemma4.config import FULL, SLIDING, Gemma4Config
from auricle.models.gemma4.features import FeatureConfig
from recipes.tiny import model as shape

TOKENIZER_FILES = ("tokenizer.json", "tokenizer_config.json", "chat_template.jinja")
LIMIT = 16_000_000  # bytes, of the whole folder


def export(work: Path, out: Path) -> None:
    tokens = Tokenizer.from_file(str(work / "tiny" / "tokenizer.json"))
    config = shape.config(tokens.get_vocab_size())
    model = shape.new_decoder(tokens.get_vocab_size(), seed=0)
    state = torch.load(work / "decoder.pt", weights_only=False)["both"]
    model.load_state_dict({k.removeprefix("model."): v for k, v in state.items() if k.startswith("model.")})
    out.mkdir(parents=True, exist_ok=True)
    save_file(
        {model.checkpoint_name(name): tensor.bfloat16().contiguous() for name, tensor in model.state_dict().items()},
        out / "model.safetensors",
        metadata={"format": "pt"},
    )
    (out / "model.safetensors").chmod(0o644)  # the library writes it for its owner alone
    _write(out / "config.json", settings(config))
    stops = [tokens.token_to_id("<eos>"), tokens.token_to_id("<turn|>")]
    _write(out / "generation_config.json", {"bos_token_id": 2, "eos_token_id": stops, "pad_token_id": 0})
    features = FeatureConfig()
    _write(
        out / "processor_config.json",
        {
            "processor_class": "Gemma4Processor",
            "audio_seq_length": 750,
            "feature_extractor": {
                "feature_extractor_type": "Gemma4AudioFeatureExtractor",
                **{name: getattr(features, name) for name in ("feature_size", "sampling_rate", "mel_floor")},
                "frame_length": features.frame_length,
                "hop_length": features.hop_length,
                "fft_length": features.fft_length,
                # Auricle's own setting: without it the last word is lost where a recording stops with it.
                "trailing_silence_s": 0.3,
            },
        },
    )
    for name in TOKENIZER_FILES:
        shutil.copy(work / "tiny" / name, out / name)
    size = sum(file.stat().st_size for file in out.iterdir())
    print(f"{out}: {size / 1e6:.2f} MB")
    if size > LIMIT:
        raise SystemExit(f"the folder has {size} bytes; it must stay below {LIMIT}")


def settings(config: Gemma4Config) -> dict[str, Any]:
    """`config.json` as transformers reads it."""
    text, audio = asdict(config.text), asdict(config.audio) if config.audio else None
    ropes = {SLIDING: text.pop("rope_sliding"), FULL: text.pop("rope_full")}
    for rope in ropes.values():
        if rope["rope_type"] == "default":
            rope.pop("partial_rotary_factor")
    return {
        "architectures": ["Gemma4ForConditionalGeneration"],
        "model_type": "gemma4",
        "dtype": "bfloat16",
        "tie_word_embeddings": True,
        "audio_token_id": config.audio_token_id,
        "boa_token_id": config.boa_token_id,
        "eoa_token_index": config.eoa_token_id,
        # Not part of this model; transformers wants ids that no text has.
        "image_token_id": -1,
        "video_token_id": -1,
        "vision_config": None,
        "audio_config": {"model_type": "gemma4_audio", **(audio or {})},
        "text_config": {"model_type": "gemma4_text", "eos_token_id": 1, **text, "rope_parameters": ropes},
    }


def _write(path: Path, content: dict[str, Any]) -> None:
    path.write_text(json.dumps(content, indent=2) + "\n")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--work", type=Path, default=Path("recipes/tiny/work"))
    parser.add_argument("--out", type=Path, default=Path("src/auricle/assets/tiny"))
    arguments = parser.parse_args()
    export(arguments.work, arguments.out)
