"""The tokenizer of `tiny`: byte-level BPE in which every word of the vocabulary is one token."""

from __future__ import annotations

import json
from pathlib import Path

from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers, trainers

from auricle.models.gemma4.family import DEFAULT_TEMPLATE
from recipes.tiny import tasks

SPECIAL = ["<pad>", "<eos>", "<bos>", "<unk>", "<|turn>", "<turn|>", "<|audio>", "<|audio|>", "<audio|>"]


def build(words: list[str], folder: Path) -> Tokenizer:
    """Trains the tokenizer and writes it, its settings and the chat template into a folder."""
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=True)
    tokenizer.decoder = decoders.ByteLevel()
    asked = [
        q
        for name in ("TRANSCRIBE", "DESCRIBE", "KIND", "INSTRUMENT", "SPEECH", "MUSIC", "PLAYS", "CHOOSE", "LOUDER")
        for q in getattr(tasks, name)
    ]
    told = ["user\n", "model\n", "system\n", "Yes", "No", tasks.NOBODY, tasks.NOTHING, "Someone says:", "SPEECH"]
    told += ["NONSPEECH", "NON-SPEECH", "NOT SPEECH", "A) B)", "Music:", "The first", "The second", "None"]
    told += [kind.capitalize() for kind in (*tasks.NAMES, *tasks.SCENES, "speech", "music")]
    told += [*tasks.NAMES.values(), *tasks.SCENES.values()]
    # Twice with a space and once without: the first word of an answer has none.
    corpus = [w for word in words for w in (f" {word}", f" {word}", word)] * 20 + (asked + told) * 20
    trainer = trainers.BpeTrainer(
        vocab_size=2400,
        min_frequency=20,
        special_tokens=[AddedToken(token, special=True) for token in SPECIAL],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    tokenizer.train_from_iterator(corpus, trainer)
    for word in words:
        for spelled in (word, f" {word}"):
            pieces = tokenizer.encode(spelled, add_special_tokens=False).tokens
            if len(pieces) != 1:
                raise ValueError(f"{spelled!r} became {pieces}: the vocabulary is too small")
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer.save(str(folder / "tokenizer.json"))
    settings = {
        "tokenizer_class": "PreTrainedTokenizerFast",
        "bos_token": "<bos>",
        "eos_token": "<eos>",
        "pad_token": "<pad>",
        "unk_token": "<unk>",
        "boa_token": "<|audio>",
        "audio_token": "<|audio|>",
        "eoa_token": "<audio|>",
        "model_max_length": 8192,
    }
    (folder / "tokenizer_config.json").write_text(json.dumps(settings, indent=2) + "\n")
    (folder / "chat_template.jinja").write_text(DEFAULT_TEMPLATE + "\n")
    return tokenizer
