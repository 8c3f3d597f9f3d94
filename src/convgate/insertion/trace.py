"""Run a network once and note the shapes of its tensors."""

from collections.abc import Sequence
from contextlib import ExitStack
from typing import Any

import torch
from torch import Tensor, nn
from torch.func import functional_call

from convgate.measure.settings import evaluated

Shape = tuple[int, ...]


def record_shapes(
    model: nn.Module, places: Sequence[tuple[str, str]], example_input: Tensor
) -> list[list[Shape]]:
    """Return, for every place, the shapes of its tensors, one for each time it was run.

    The network runs in evaluation mode without gradients, and is left as it was.

    Args:
        model: The network.
        places: Module path, and "output" or "input" of it.
        example_input: What the network takes; on the meta device, only shapes are computed.
    """
    found: list[list[Shape]] = [[] for _ in places]
    with ExitStack() as stack, evaluated(model):
        for (path, where), shapes in zip(places, found, strict=True):
            handle = _watch(model.get_submodule(path), where, shapes)
            stack.callback(handle.remove)
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
