"""One clip to what a model without a prompt takes."""

from __future__ import annotations

from typing import Any

from auricle.backends.transformers.library import one_line
from auricle.backends.transformers.loading import Loaded
from auricle.errors import SoundError
from auricle.types import Audio


def heard(loaded: Loaded, clip: Audio) -> dict[str, Any]:
    """Features of one clip at the model's rate, on its device.

    Raises:
        SoundError: it is too short for one frame, or the feature extractor refuses it.
    """
    count = getattr(loaded.model, "_get_feat_extract_output_lengths", None)  # of models that read samples themselves
    reads_samples = getattr(loaded.model.config, "conv_kernel", None) is not None
    if count is not None and reads_samples and int(count(len(clip.samples))) < 1:
        raise SoundError(
            f"{clip.source} is too short: {len(clip.samples)} samples ({clip.seconds:.3f} s) are less than one frame"
        )
    try:
        features = loaded.extractor(clip.samples, sampling_rate=loaded.rate, return_tensors="pt")
    except Exception as error:  # a feature extractor refuses in any way it likes
        raise SoundError(f"{clip.source} is refused by the model's feature extractor ({one_line(error)})") from error
    inputs = loaded.inputs(features)
    if not any(value.is_floating_point() and value.numel() for value in inputs.values()):
        raise SoundError(
            f"{clip.source} was dropped by {type(loaded.extractor).__name__}, which gave no features of it: "
            f"it has {clip.seconds:.3f} s, which may be too short, or the model's files are incomplete"
        )
    return inputs
