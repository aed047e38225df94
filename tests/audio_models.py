"""Tiny random checkpoints of other audio models, written by the reference library, with tokenizers made on the spot.

    make_whisper(tmp_path / "whisper")           # speech-seq2seq, multilingual
    make_wav2vec2(tmp_path / "ctc")              # CTC
    make_labels(tmp_path / "labels")             # an audio-classification head
    make_voxtral(tmp_path / "voxtral")           # asked; its tokenizer is mistral-common's
    make_flamingo(tmp_path / "flamingo")         # asked; with a chat template
    make_granite(tmp_path / "granite")           # asked; its feature extractor needs torchaudio

Logits of random weights hardly differ, and a greedy answer would be one token over and over: `_write` enlarges them,
and leaves letters and spaces to write with.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers

BYTES = sorted(pre_tokenizers.ByteLevel.alphabet())
LANGUAGES = ("en", "de", "fr")
LARGER = {"conv": 1, "embed": 1}  # by how much weights grow that have this in their name; others by 8
# Place, language and sound have to matter, beside the token before.
WHISPER = {
    "decoder.embed_positions": 40,
    "encoder_attn": 40,
    "encoder.conv": 8,
    "decoder.layers.0.self_attn": 40,
    "decoder.layers": 1,
}
LETTERS = " abcdefghijklmnopqrstuvwxyz'"
LABELS = ("speech", "music", "dog", "rain")
SMALL = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4}
CHAT = (
    "{% for message in messages %}<|im_start|>{{ message['role'] }}\n{% for part in message['content'] %}"
    "{% if part['type'] == 'audio' %}<sound>{% else %}{{ part['text'] }}{% endif %}{% endfor %}<|im_end|>\n"
    "{% endfor %}{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)


def make_whisper(folder: Path, *, multilingual: bool = True, seed: int = 0) -> Path:
    from transformers import (
        GenerationConfig,
        WhisperConfig,
        WhisperFeatureExtractor,
        WhisperForConditionalGeneration,
        WhisperProcessor,
    )

    spoken = [f"<|{code}|>" for code in LANGUAGES] if multilingual else []
    start = ["<|endoftext|>", "<|startoftranscript|>", *spoken, "<|transcribe|>", "<|translate|>", "<|notimestamps|>"]
    tokenizer = _byte_level(start, eos="<|endoftext|>", pad="<|endoftext|>")
    ids = {token: tokenizer.convert_tokens_to_ids(token) for token in start}
    config = WhisperConfig(
        vocab_size=len(tokenizer),
        d_model=32,
        encoder_layers=2,
        decoder_layers=2,
        encoder_attention_heads=4,
        decoder_attention_heads=4,
        encoder_ffn_dim=48,
        decoder_ffn_dim=48,
        num_mel_bins=80,
        max_target_positions=64,
        decoder_start_token_id=ids["<|startoftranscript|>"],
        **_ends(ids["<|endoftext|>"]),
    )
    torch.manual_seed(seed)
    model = WhisperForConditionalGeneration(config)
    with torch.no_grad():
        for token in spoken:
            model.get_output_embeddings().weight[ids[token]] *= 8  # which is the decoder's embedding, too
    settings: dict[str, Any] = {
        **_ends(ids["<|endoftext|>"]),
        "decoder_start_token_id": ids["<|startoftranscript|>"],
        "no_timestamps_token_id": ids["<|notimestamps|>"],
        "is_multilingual": multilingual,
        "suppress_tokens": [ids["<|transcribe|>"], ids["<|startoftranscript|>"], *(ids[token] for token in spoken)],
        "begin_suppress_tokens": [ids["<|endoftext|>"]],
        "max_length": 64,
    }
    if multilingual:
        settings["lang_to_id"] = {token: ids[token] for token in spoken}
        settings["task_to_id"] = {task: ids[f"<|{task}|>"] for task in ("transcribe", "translate")}
    model.generation_config = GenerationConfig(**settings)
    return _write(
        folder,
        model,
        WhisperProcessor(WhisperFeatureExtractor(), tokenizer),
        never=_unwritten(tokenizer, [token for token in start[1:] if token not in spoken]),
        larger=WHISPER,
    )


def make_wav2vec2(folder: Path, *, seed: int = 0) -> Path:
    from transformers import (
        Wav2Vec2Config,
        Wav2Vec2CTCTokenizer,
        Wav2Vec2FeatureExtractor,
        Wav2Vec2ForCTC,
        Wav2Vec2Processor,
    )

    folder.mkdir(parents=True, exist_ok=True)
    vocabulary = {"<pad>": 0, "<s>": 1, "</s>": 2, "<unk>": 3, "|": 4}
    vocabulary |= {letter: 5 + i for i, letter in enumerate(LETTERS.strip())}
    (folder / "vocab.json").write_text(json.dumps(vocabulary))
    tokenizer = Wav2Vec2CTCTokenizer(str(folder / "vocab.json"))
    torch.manual_seed(seed)
    model = Wav2Vec2ForCTC(Wav2Vec2Config(vocab_size=len(vocabulary), pad_token_id=0, **_WAV2VEC2))
    return _write(folder, model, Wav2Vec2Processor(Wav2Vec2FeatureExtractor(), tokenizer))


def make_labels(folder: Path, *, multiple: bool = False, seed: int = 0) -> Path:
    from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForSequenceClassification

    torch.manual_seed(seed)
    config = Wav2Vec2Config(
        id2label=dict(enumerate(LABELS)),
        label2id={name: i for i, name in enumerate(LABELS)},
        problem_type="multi_label_classification" if multiple else None,
        classifier_proj_size=16,
        **_WAV2VEC2,
    )
    return _write(folder, Wav2Vec2ForSequenceClassification(config), Wav2Vec2FeatureExtractor())


def make_flamingo(folder: Path, *, seed: int = 0, template: str | None = CHAT, **text: Any) -> Path:
    from transformers import (
        AudioFlamingo3Config,
        AudioFlamingo3ForConditionalGeneration,
        AudioFlamingo3Processor,
        WhisperFeatureExtractor,
    )

    special = ["<|endoftext|>", "<|im_start|>", "<|im_end|>", "<sound>"]
    tokenizer = _byte_level(special, eos="<|im_end|>", pad="<|endoftext|>")
    end, pad = (tokenizer.convert_tokens_to_ids(token) for token in ("<|im_end|>", "<|endoftext|>"))
    torch.manual_seed(seed)
    config = AudioFlamingo3Config(
        audio_config={**SMALL, "num_mel_bins": 128},
        text_config={
            "model_type": "qwen2",
            "vocab_size": len(tokenizer),
            "num_key_value_heads": 2,
            "max_position_embeddings": 4096,
            "tie_word_embeddings": False,
            **SMALL,
            **text,
        },
        audio_token_id=tokenizer.convert_tokens_to_ids("<sound>"),
    )
    model = AudioFlamingo3ForConditionalGeneration(config)
    model.generation_config.update(eos_token_id=[end, pad], pad_token_id=pad)
    processor = AudioFlamingo3Processor(WhisperFeatureExtractor(feature_size=128), tokenizer, chat_template=template)
    return _write(folder, model, processor, never=_unwritten(tokenizer, ["<|endoftext|>", "<|im_start|>", "<sound>"]))


def make_voxtral(folder: Path, *, seed: int = 5) -> Path:
    """As Voxtral Mini, its tokenizer in tekken.json, which mistral-common reads."""
    from transformers import (
        VoxtralConfig,
        VoxtralForConditionalGeneration,
        VoxtralProcessor,
        WhisperFeatureExtractor,
    )
    from transformers.tokenization_mistral_common import MistralCommonBackend

    folder.mkdir(parents=True, exist_ok=True)
    special = ["<unk>", "<s>", "</s>", "[INST]", "[/INST]", "[AVAILABLE_TOOLS]", "[/AVAILABLE_TOOLS]", "[TOOL_RESULTS]"]
    special += ["[/TOOL_RESULTS]", "[TOOL_CALLS]", "[IMG]", "<pad>", "[IMG_BREAK]", "[IMG_END]", "[PREFIX]", "[MIDDLE]"]
    special += ["[SUFFIX]", "[SYSTEM_PROMPT]", "[/SYSTEM_PROMPT]", "[TOOL_CONTENT]", "[ARGS]", "[CALL_ID]", "[THINK]"]
    special += ["[/THINK]", "[AUDIO]", "[BEGIN_AUDIO]", "[TRANSCRIBE]"]  # 24, 25: where VoxtralProcessor looks for them
    size = 256 + len(special)
    tekken = {
        "config": {
            "pattern": r"[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}|\s+|[^\s\p{L}\p{N}]+",
            "num_vocab_tokens": size,
            "default_vocab_size": size,
            "default_num_special_tokens": len(special),
            "version": "v11",
        },
        "vocab": [
            {"rank": i, "token_bytes": base64.b64encode(bytes([i])).decode(), "token_str": None} for i in range(256)
        ],
        "special_tokens": [{"rank": i, "token_str": token, "is_control": True} for i, token in enumerate(special)],
        "version": 1,
        "type": "Tekken",
        "audio": {
            "sampling_rate": 16_000,
            "frame_rate": 12.5,
            "audio_encoding_config": {"num_mel_bins": 128, "hop_length": 160, "window_size": 400},
            "chunk_length_s": 30.0,
        },
    }
    (folder / "tekken.json").write_text(json.dumps(tekken))
    torch.manual_seed(seed)
    config = VoxtralConfig(
        # intermediate_size is four hidden ones: the projector reads four frames as one token.
        audio_config={**SMALL, "intermediate_size": 128, "num_mel_bins": 128},
        text_config={
            "model_type": "llama",
            "vocab_size": size,
            "num_key_value_heads": 2,
            "head_dim": 8,
            "max_position_embeddings": 4096,
            "bos_token_id": 1,
            "eos_token_id": 2,
            **SMALL,
        },
        audio_token_id=24,
    )
    model = VoxtralForConditionalGeneration(config)
    model.generation_config.update(bos_token_id=1, eos_token_id=2, pad_token_id=11)
    tokenizer = MistralCommonBackend(tokenizer_path=folder / "tekken.json")
    processor = VoxtralProcessor(WhisperFeatureExtractor(feature_size=128), tokenizer)
    return _write(
        folder,
        model,
        processor,
        never=[
            *range(2),
            *range(3, len(special)),
            *(len(special) + byte for byte in range(256) if chr(byte) not in LETTERS),
        ],
    )


def make_granite(folder: Path) -> Path:
    """Of Granite Speech, what is read before the weights."""
    from transformers import GraniteSpeechConfig

    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = _byte_level(["<|end_of_text|>", "<|audio|>"], eos="<|end_of_text|>", pad="<|end_of_text|>")
    tokenizer.save_pretrained(folder)
    config = GraniteSpeechConfig(architectures=["GraniteSpeechForConditionalGeneration"])
    config.save_pretrained(folder)
    from safetensors.torch import save_file

    save_file({"weight": torch.zeros(1)}, folder / "model.safetensors")
    extractor = {"feature_extractor_type": "GraniteSpeechFeatureExtractor", "sampling_rate": 16_000}
    (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    settings = {"processor_class": "GraniteSpeechProcessor", "audio_token": "<|audio|>"}
    (folder / "processor_config.json").write_text(json.dumps(settings))
    return folder


_WAV2VEC2: dict[str, Any] = {
    **SMALL,
    "conv_dim": (16, 16, 16),
    "conv_kernel": (10, 8, 4),
    "conv_stride": (5, 8, 8),
    "num_feat_extract_layers": 3,
    "num_conv_pos_embeddings": 16,
    "num_conv_pos_embedding_groups": 4,
}


def _byte_level(special: list[str], *, eos: str, pad: str) -> Any:
    """A tokenizer of bytes, then the special tokens: what follows Whisper's last one are time stamps."""
    from transformers import PreTrainedTokenizerFast

    tokenizer = Tokenizer(models.BPE({token: i for i, token in enumerate([*BYTES, *special])}, []))
    tokenizer.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    tokenizer.decoder = decoders.ByteLevel()
    tokenizer.add_special_tokens([AddedToken(token, special=True, normalized=False) for token in special])
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=eos, pad_token=pad)


def _unwritten(tokenizer: Any, special: list[str]) -> list[int]:
    """Ids of special tokens and of bytes that are no letters."""
    letters = {letter.replace(" ", "\u0120") for letter in LETTERS}
    others = {*BYTES, *special} - letters
    return sorted(tokenizer.convert_tokens_to_ids(token) for token in others)


def _ends(end: int) -> dict[str, int]:
    return {"eos_token_id": end, "bos_token_id": end, "pad_token_id": end}


@torch.no_grad()
def _write(
    folder: Path, model: Any, processor: Any, never: Sequence[int] = (), larger: Mapping[str, float] = {}
) -> Path:
    """Saves both; `never` are ids that no greedy answer picks, with logits of 0. `larger` goes before LARGER."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, tensor in model.named_parameters():
        if tensor.dim() > 1:
            tensor.mul_(next((factor for part, factor in [*larger.items(), *LARGER.items()] if part in name), 8))
    if never:
        model.get_output_embeddings().weight[list(never)] = 0
    model.eval().save_pretrained(folder)
    processor.save_pretrained(folder)
    return folder
