"""Read a module tree: parts by path, channels taken and given, and what can carry a gate.

A container runs its children one by one, so a child carries the gate for it.
"""

from dataclasses import dataclass
from typing import Literal

from torch import nn

from convgate.errors import InputError

Where = Literal["output", "input"]
Layout = Literal["NCHW", "NHWC"]

WIDTHS = ("num_features", "out_channels", "out_features", "num_channels")
FIRST_WIDTHS = ("num_features", "in_channels", "in_features", "num_channels")
CHILDREN = {"output": "gate", "input": "input_gate"}
"""The names under which a module has the gates on its output and on its input."""

MARK = "insertion"
"""The attribute of an inserted gate that says where it was put and what it is."""


@dataclass(frozen=True)
class TensorSite:
    """A tensor inside a module tree: output or input of the module at ``path``."""

    path: str
    where: Where
    channels: int
    layout: Layout = "NCHW"


def child(module: nn.Module, path: str) -> nn.Module | None:
    """Return the submodule at a dotted path, or None; the empty path is the module itself."""
    for name in path.split(".") if path else ():
        found = module._modules.get(name)
        if found is None:
            return None
        module = found
    return module


def join(*names: str) -> str:
    """Join the non-empty parts of a dotted path."""
    return ".".join(filter(None, names))


def own_children(module: nn.Module) -> dict[str, nn.Module]:
    return {n: m for n, m in module.named_children() if MARK not in m.__dict__}


def output_width(module: nn.Module) -> int | None:
    """Return C of what a layer, a norm or a Sequential gives; None where its parts do not say."""
    source = output_source(module)
    return _own_width(source, WIDTHS) if source is not None else None


def output_source(module: nn.Module) -> nn.Module | None:
    """Return the layer or norm that says how many channels the output has."""
    if not isinstance(module, nn.Sequential):
        return module if _own_width(module, WIDTHS) is not None else None
    for last in reversed(module):
        source = output_source(last)
        if source is not None or not keeps_width(last):
            return source
    return None


def input_width(module: nn.Module) -> int | None:
    """Return C of what a layer, a norm or a Sequential takes; None where its parts do not say."""
    if isinstance(module, nn.Sequential):
        return input_width(module[0]) if len(module) else None
    return _own_width(module, FIRST_WIDTHS)


def keeps_width(module: nn.Module) -> bool:
    """Whether a module is a leaf without parameters: an activation, a pooling, a dropout."""
    return not (own_children(module) or module._parameters)


def _own_width(module: nn.Module, names: tuple[str, ...]) -> int | None:
    for name in names:
        width = getattr(module, name, None)
        if isinstance(width, int):
            return width
    shape = getattr(module, "normalized_shape", None)
    if shape is not None:
        return int(shape[-1])
    weight = module._buffers.get("weight")  # a frozen batch norm
    return weight.numel() if weight is not None and weight.ndim == 1 else None


ITERATES = {"children", "named_children", "_modules", "modules"}


def output_carrier(model: nn.Module, path: str) -> str:
    """Return the path of the module whose output is that of ``path`` and that can have a child."""
    return _descend(model, path, -1)


def input_carrier(model: nn.Module, path: str) -> str:
    """Return the path of the module that takes the input of ``path`` and that can have a child."""
    return _descend(model, path, 0)


def _descend(model: nn.Module, path: str, index: int) -> str:
    module = child(model, path)
    while isinstance(module, nn.Sequential) and len(module):
        path = join(path, list(module._modules)[index])
        module = child(model, path)
    if module is None or _is_container(module):
        raise InputError(
            f"{path or 'the network'} is a {type(module).__name__}, which runs its children one "
            "by one and so cannot carry a gate; name a module inside it"
        )
    return path


def _is_container(module: nn.Module) -> bool:
    if isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
        return True
    code = getattr(type(module).forward, "__code__", None)
    return code is not None and not ITERATES.isdisjoint(code.co_names)
