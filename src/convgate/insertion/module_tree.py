"""Read a module tree: parts by path, channels, what can carry a gate, shapes of tensors.

A container runs its children one by one, so a child carries the gate for it.
"""

from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call

from convgate.errors import InputError
from convgate.measure.settings import evaluated

Where = Literal["output", "input"]
Layout = Literal["NCHW", "NHWC"]
Shape = tuple[int, ...]

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


def record_shapes(
    model: nn.Module, places: Sequence[tuple[str, str]], example_input: Tensor
) -> list[list[Shape]]:
    """Return, for every place, the shapes of its tensors, one for each time it was run.

    The network runs in evaluation mode without gradients, and is left as it was.
    A place is a module's path, and "output" or "input" of it; an example on the meta device gives
    shapes without computing.
    """
    found: list[list[Shape]] = [[] for _ in places]
    with ExitStack() as stack, evaluated(model):
        for (path, where), shapes in zip(places, found, strict=True):
            stack.enter_context(_watch(model.get_submodule(path), where, shapes))
        try:
            _run(model, example_input)
        except RuntimeError:
            if example_input.device.type != "meta":
                raise
            return [[] for _ in places]  # a network that looks at its data has no shapes without
    return found


def noted_size(model: nn.Module) -> tuple[int, int, int] | None:
    """Return the input size (C, H, W) that timm notes on its networks; None for others."""
    return (getattr(model, "pretrained_cfg", None) or {}).get("input_size")


def known_input(model: nn.Module) -> Tensor | None:
    """Return an input without data of the size that timm notes on its networks; None if unknown."""
    size = noted_size(model)
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if not size or first is None:
        return None
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    return torch.empty(1, first.in_channels, *size[1:], device="meta", dtype=dtype)


def _watch(module: nn.Module, where: str, shapes: list[Shape]) -> Any:
    def note(tensor: object) -> None:
        shapes.append(tuple(tensor.shape) if isinstance(tensor, Tensor) else ())

    if where == "output":
        return module.register_forward_hook(lambda _module, _args, output: note(output))
    return module.register_forward_pre_hook(lambda _module, args: note(args[0]))


def _run(model: nn.Module, example_input: Tensor) -> None:
    if example_input.device.type != "meta":
        model(example_input)
        return
    state = {**dict(model.named_parameters()), **dict(model.named_buffers())}
    functional_call(
        model, {name: t.detach().to("meta") for name, t in state.items()}, example_input
    )
