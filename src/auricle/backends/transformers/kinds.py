"""What a config is: told by transformers' own tables of which class does what, not by a list of ours.

A checkpoint names its class in `architectures`. One model type can have several: a wav2vec 2.0 may carry a CTC head or
labels, so the class decides. Where none is named, or one in no table, the model type does, if it has one meaning.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from auricle.backends.transformers.library import needs_code
from auricle.errors import CheckpointError, UnsupportedError

Task = Literal["asked", "seq2seq", "ctc", "labels"]

# task -> transformers' table of classes, and the class that loads them. Audio Flamingo 3 stands among models of text to
# text, with T5 and others that hear nothing: those have no processor for sound, and are refused when it is opened.
TABLES: tuple[tuple[Task, str, str], ...] = (
    ("asked", "MODEL_FOR_MULTIMODAL_LM_MAPPING_NAMES", "AutoModelForMultimodalLM"),
    ("asked", "MODEL_FOR_SEQ_TO_SEQ_CAUSAL_LM_MAPPING_NAMES", "AutoModelForSeq2SeqLM"),
    ("seq2seq", "MODEL_FOR_SPEECH_SEQ_2_SEQ_MAPPING_NAMES", "AutoModelForSpeechSeq2Seq"),
    ("ctc", "MODEL_FOR_CTC_MAPPING_NAMES", "AutoModelForCTC"),
    ("labels", "MODEL_FOR_AUDIO_CLASSIFICATION_MAPPING_NAMES", "AutoModelForAudioClassification"),
)


@dataclass(frozen=True)
class Kind:
    """What a checkpoint is for."""

    task: Task
    loader: str  # the name of transformers' class that loads it
    also_transcribes: bool  # asked, but in the table of speech-seq2seq models as well


def kind_of(transformers: Any, folder: Path, config: dict[str, Any]) -> Kind:
    """What the model of this config is for.

    Raises:
        CheckpointError: its model type is not one of transformers, or needs code of its own.
        UnsupportedError: it neither answers, nor transcribes, nor labels sound.
    """
    auto = transformers.models.auto
    model_type = config["model_type"]
    if model_type not in auto.configuration_auto.CONFIG_MAPPING_NAMES:
        if config.get("auto_map"):
            raise needs_code(folder)
        raise CheckpointError(
            f"transformers {transformers.__version__} knows no model type {model_type!r}, which {folder} is of: "
            "a newer one might (pip install -U transformers)"
        )
    named = config.get("architectures")
    architecture = named[0] if isinstance(named, list) and named else None
    tables = [(task, getattr(auto.modeling_auto, table), loader) for task, table, loader in TABLES]
    by_class = [(task, loader) for task, table, loader in tables if table.get(model_type) == architecture]
    by_type = [(task, loader) for task, table, loader in tables if model_type in table]
    fitting = by_class or by_type
    tasks = {task for task, _ in fitting}
    if not fitting or (not by_class and tasks & {"ctc", "labels"} and len(tasks) > 1):
        what = architecture or f"of type {model_type!r} without a head"
        raise UnsupportedError(
            f"{folder} is {what}, which neither answers questions, nor transcribes, nor has labels: "
            "choose a model for one of these"
        )
    task, loader = fitting[0]
    return Kind(task, loader, also_transcribes="seq2seq" in tasks)
