"""Read a file of weights safely, and name the published SELNeXt weights as this package does."""

import argparse
import re
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn

from convgate.errors import CorruptFile, InputError

Weights = dict[str, Tensor]

# Ours against the authors', role by role; {s} counts stages, {b} blocks, {i} layers.
ROLES = (
    ("stem.{i}", "downsample_layers.0.{i}"),
    ("stages.{s}.downsample.{i}", "downsample_layers.{s}.{i}"),
    ("stages.{s}.blocks.{b}.conv_dw", "stages.{s}.{b}.dwconv"),
    ("stages.{s}.blocks.{b}.norm", "stages.{s}.{b}.norm"),
    ("stages.{s}.blocks.{b}.mlp.fc1", "stages.{s}.{b}.pwconv1"),
    ("stages.{s}.blocks.{b}.mlp.gate.squeeze", "stages.{s}.{b}.norm.conv_reduce"),
    ("stages.{s}.blocks.{b}.mlp.gate.excite", "stages.{s}.{b}.norm.conv_expand"),
    ("stages.{s}.blocks.{b}.mlp.gate.norm", "stages.{s}.{b}.norm.gate"),
    ("stages.{s}.blocks.{b}.mlp.fc2", "stages.{s}.{b}.pwconv2"),
    ("stages.{s}.blocks.{b}.gamma", "stages.{s}.{b}.gamma"),
    ("head.norm", "norm"),
    ("head.fc", "head"),
)
GATE = re.compile(r"(^|\.)(input_)?gate\.")  # where `convgate.insertion` puts one
LEAF = r"(?P<leaf>\.weight|\.bias)"
WRAPPERS = ("model_ema", "state_dict_ema", "model", "state_dict")


def load_checkpoint_file(path: str | Path, *, ema: bool = True) -> Weights:
    """Read weights from a `.safetensors` file or a torch file, without running its pickles.

    Args:
        path: The file. A torch file holds the weights plainly, or under `model` / `state_dict`
            and their averages under `model_ema` / `state_dict_ema`.
        ema: Take the averaged weights where the file has both.

    Raises:
        InputError: if there is no such file.
        CorruptFile: if it is truncated, damaged, or holds something else.
    """
    path = Path(path)
    if not path.is_file():
        raise InputError(f"checkpoint {path}: there is no such file")
    read = load_file if path.suffix == ".safetensors" else _load_torch
    try:
        content = read(path)
    except (MemoryError, OSError):
        raise
    except Exception as error:  # a damaged stream can fail anywhere inside the reader
        raise CorruptFile(
            f"checkpoint {path}: truncated, or not a file of weights; fetch or save it again"
        ) from error
    return _unwrap(content, path, ema)


def _load_torch(path: Path) -> object:
    # Training scripts store their command line's Namespace beside the weights: plain data.
    with torch.serialization.safe_globals([argparse.Namespace]):
        return torch.load(path, map_location="cpu", weights_only=True)


def _unwrap(content: object, path: Path, ema: bool) -> Weights:
    """Find the weights in what the file holds, free of the prefix that DDP adds."""
    wrappers = [key for key in WRAPPERS if ema or not key.endswith("_ema")]
    while isinstance(content, Mapping) and any(key in content for key in wrappers):
        content = content[next(key for key in wrappers if key in content)]
    if not isinstance(content, Mapping) or not content:
        raise CorruptFile(f"checkpoint {path}: holds no weights")
    for key, value in content.items():
        if not isinstance(key, str) or not isinstance(value, Tensor):
            raise CorruptFile(
                f"checkpoint {path}: entry {key!r} is {type(value).__name__}, not a tensor; "
                f"the weights must be plain or under one of {', '.join(WRAPPERS)}"
            )
    return {key.removeprefix("module."): value for key, value in content.items()}


def from_authors(weights: Mapping[str, Tensor]) -> Weights:
    """Rename the keys of oto-q/SELNeXt to ours; ours pass unchanged.

    The layer norm inside the gate is known by its place and rank whatever it is called, and 1x1
    convolution weights become those of linear layers.

    Raises:
        CorruptFile: for keys that no SELNeXt has, naming the first.
    """
    if "stem.0.weight" in weights:
        return dict(weights)
    named = {_gate_norm(key, value): value for key, value in weights.items()}
    rules = [_rule(theirs, ours) for ours, theirs in ROLES]
    renamed = {}
    for key, value in named.items():
        new = next((found for rule in rules if (found := rule(key))), None)
        if new is None:
            raise CorruptFile(f"checkpoint key {key!r} is no part of a SELNeXt; is it another net?")
        renamed[new] = _linear(new, value)
    return renamed


def checkpoint_filter_fn(weights: Mapping[str, Any], model: nn.Module) -> Weights:
    """Give timm's loader our keys, from the authors' or our own, plain or wrapped."""
    return from_authors(_unwrap(weights, Path("given to timm"), ema=True))


def read_weights(path: str | Path, *, ema: bool = True) -> Weights:
    """Read a checkpoint as `load_checkpoint_file` does; published SELNeXt keys are renamed."""
    weights = load_checkpoint_file(path, ema=ema)
    if any(key.startswith("downsample_layers.") for key in weights):
        return from_authors(weights)
    return weights


def load_weights(model: nn.Module, path: str | Path, *, ema: bool = True) -> None:
    """Load a checkpoint into ``model``, every tensor of it; published SELNeXt keys are renamed."""
    weights = read_weights(path, ema=ema)
    own = model.state_dict()
    check_fit(path, model, weights, lacks=own.keys() - weights.keys())
    model.load_state_dict(weights)


def check_fit(
    path: str | Path,
    model: nn.Module,
    weights: Weights,
    *,
    lacks: Collection[str],
    spare: Collection[str] = (),
) -> None:
    """Ask that a checkpoint is one of this network.

    Args:
        path: Names it.
        model: The network.
        weights: What it holds.
        lacks: The keys that it should hold, and does not.
        spare: The keys that it may hold beside the network's own.

    Raises:
        InputError: naming the first difference and the way out.
    """
    own, kind = model.state_dict(), type(model).__name__
    more = weights.keys() - own.keys() - set(spare)
    faults = {"lacks": lacks, "has the unknown": more}
    for verb, keys in faults.items():
        if keys:
            others = f" and {len(keys) - 1} more" if len(keys) > 1 else ""
            raise InputError(
                f"checkpoint {path}: {verb} {min(keys)!r}{others}; {_way_out(lacks, more, kind)}"
            )
    for key in own.keys() & weights.keys():
        if own[key].shape != weights[key].shape:
            raise InputError(f"checkpoint {path}: {_unlike(key, weights[key], own[key])}")


def _way_out(lacks: Collection[str], more: Collection[str], kind: str) -> str:
    if more and all(map(GATE.search, more)) and not lacks:
        return (
            f"it is of a network with gates, and this {kind} has none such: insert them first, or "
            "open the file that convgate wrote by its own path, which brings them"
        )
    if lacks and all(map(GATE.search, lacks)) and not more:
        return f"it is of the network without gates: load it before they are inserted into {kind}"
    return f"it is not one of this {kind}: name the network that it was made from"


def _unlike(key: str, theirs: Tensor, own: Tensor) -> str:
    head = theirs.shape[1:] == own.shape[1:] and theirs.ndim > 0
    way = f"build the model with num_classes={len(theirs)}, if this is its classifier"
    return (
        f"{key} is {tuple(theirs.shape)} and the model's is {tuple(own.shape)}; "
        f"{way if head else 'build the model as the checkpoint was built'}"
    )


def _rule(old: str, new: str) -> Callable[[str], str | None]:
    """Return what turns a key of the role ``old`` into ``new``, and any other key into None."""
    leaf = r"(?P<leaf>)" if old.endswith("gamma") else LEAF
    fields = re.sub(r"\\\{(\w)\\\}", r"(?P<\1>\\d+)", re.escape(old))
    pattern = re.compile(fields + leaf)

    def apply(key: str) -> str | None:
        match = pattern.fullmatch(key)
        return new.format(**match.groupdict()) + match["leaf"] if match else None

    return apply


def _gate_norm(key: str, value: Tensor) -> str:
    match = re.fullmatch(rf"(stages\.\d+\.\d+\.norm)\.(?!conv_)\w+{LEAF}", key)
    return f"{match[1]}.gate{match['leaf']}" if match and value.ndim == 1 else key


def _linear(key: str, value: Tensor) -> Tensor:
    return value.flatten(1) if ".mlp." in key and value.ndim == 4 else value
