"""EnCodec's weights from a checkpoint: norm times direction multiplied out, what only training needs left out."""

from __future__ import annotations

import torch
from torch import Tensor

from auricle.audiolm.codecs.encodec_config import EncodecConfig
from auricle.audiolm.codecs.encodec_model import EncodecModel
from auricle.checkpoint import Checkpoint
from auricle.errors import CheckpointError

# The norm and the direction of a convolution's weight, as older and newer versions of torch spell them.
SPELLINGS = (
    ("weight_g", "weight_v"),
    ("parametrizations.weight.original0", "parametrizations.weight.original1"),
)
TRAINING = ("codebook.inited", "codebook.cluster_size", "codebook.embed_avg")


def load_encodec(checkpoint: Checkpoint) -> EncodecModel:
    """The network of a folder whose config says `encodec`, in float32.

    Raises:
        CheckpointError: it is one that we don't run, or a tensor is missing, left over, or of another shape.
    """
    with torch.device("meta"):
        model = EncodecModel(EncodecConfig.from_json(checkpoint.config))
    given = dict.fromkeys(name for name in checkpoint.tensors if not name.endswith(TRAINING))
    state = {name: _taken(checkpoint, given, name, tensor) for name, tensor in model.state_dict().items()}
    if given:
        raise CheckpointError(
            f"{checkpoint.folder} holds {len(given)} tensors that its config has no place for: {min(given)}"
        )
    model.load_state_dict(state, assign=True)
    return model.eval().requires_grad_(False)


def _taken(checkpoint: Checkpoint, given: dict[str, None], name: str, place: Tensor) -> Tensor:
    """The tensor of a name, in float32; it is taken out of `given`."""
    stem = name.removesuffix("weight")
    pairs = [tuple(stem + word for word in pair) for pair in SPELLINGS if name.endswith(".weight")]
    found = next((pair for pair in pairs if pair[1] in given), (name,))
    if missing := [one for one in found if one not in given]:
        raise CheckpointError(f"{checkpoint.folder} lacks the tensor {missing[0]}: fetch the codec again")
    parts = [checkpoint.tensor(one).float() for one in found]
    for one in found:
        del given[one]
    weight = parts[0]
    if len(parts) == 2:
        norms, directions = parts
        weight = directions * (norms / directions.flatten(1).norm(dim=1).view(-1, *[1] * (directions.dim() - 1)))
    if weight.shape != place.shape:
        raise CheckpointError(
            f"{checkpoint.folder} has {name} of shape {tuple(weight.shape)}; its config asks for {tuple(place.shape)}"
        )
    return weight
