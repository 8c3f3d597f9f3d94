"""A classifier's weights for its body alone."""

from collections.abc import Collection
from pathlib import Path

from torch import Tensor, nn

from convgate.errors import InputError
from convgate.insertion import inserted
from convgate.models import from_authors, load_checkpoint_file


def body_weights(
    body: nn.Module, dropped: Collection[str], path: str | Path, *, ema: bool = True
) -> dict[str, Tensor]:
    """Read a classifier's checkpoint and return what of it belongs to the body.

    Args:
        body: The classifier without its head, perhaps gated.
        dropped: Names of weights that the classifier had and the body has not.
        path: The file.
        ema: Take averaged weights where the file has both.

    Raises:
        InputError: if the file is missing, lacks a part of the body that is no gate, or has a part
            that neither the body nor its classifier has.
        CorruptFile: if it is truncated, damaged, or holds something else.
    """
    weights = load_checkpoint_file(path, ema=ema)
    if any(key.startswith("downsample_layers.") for key in weights):
        weights = from_authors(weights)
    own = body.state_dict()
    gates = tuple(f"{gate}." for gate, _, _ in inserted(body))
    shared = own.keys() & weights.keys()
    faults = {
        "lacks": [key for key in own.keys() - shared if not key.startswith(gates)],
        "has the unknown": weights.keys() - shared - set(dropped),
        "has another shape of": [k for k in shared if own[k].shape != weights[k].shape],
    }
    for verb, keys in faults.items():
        if keys:
            more = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise InputError(
                f"checkpoint {path}: {verb} {min(keys)!r}{more}; "
                f"it is not one of this {type(body).__name__}"
            )
    return {key: weights[key] for key in shared}
