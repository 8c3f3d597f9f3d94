"""The flow of a network: traced when it is first asked for, and kept until the network changes."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from itertools import product
from typing import Any
from weakref import WeakKeyDictionary

import torch
from torch import Tensor, nn
from torch.nn.utils.stateless import _reparametrize_module

from convgate.errors import InputError
from convgate.insertion.flow import Flow
from convgate.insertion.keep import without_gates
from convgate.insertion.module_tree import own_modules
from convgate.insertion.tape import Tape, run
from convgate.measure.settings import evaluated

SIZES = (224, 299, 64, 32)
"""Heights and widths to try where nothing says what the network takes."""

_kept: WeakKeyDictionary[nn.Module, tuple[object, Flow]] = WeakKeyDictionary()


def flow_of(model: nn.Module, example_input: Tensor | None = None) -> Flow:
    """Return the flow of a network in evaluation mode, without the gates that were inserted.

    Args:
        model: Any network; it is left as it was.
        example_input: An input; by default one of the size that timm notes, else of a usual size.

    Raises:
        InputError: if the network does not run on it.
    """
    state = _fingerprint(model, example_input)
    kept = _kept.get(model)
    if kept is None or kept[0] != state:
        kept = state, Flow(_trace(model, example_input))
        _kept[model] = kept
    return kept[1]


def noted_size(model: nn.Module) -> tuple[int, int, int] | None:
    """Return the input size (C, H, W) that timm notes on its networks; None for others."""
    return (getattr(model, "pretrained_cfg", None) or {}).get("input_size")


def _fingerprint(model: nn.Module, example_input: Tensor | None) -> object:
    parts = tuple(
        (path, id(module), *(p.shape for p in module._parameters.values() if p is not None))
        for path, module in own_modules(model)
    )
    return parts, noted_size(model), None if example_input is None else example_input.shape


def _trace(model: nn.Module, example_input: Tensor | None) -> Tape:
    failure: Exception | None = None
    with evaluated(model), without_gates(model):
        for attempt in _attempts(model, example_input):
            try:
                with _unchanged(model):
                    return attempt()
            except Exception as error:  # any code may run in a forward
                failure = failure or error
    reason = (str(failure).splitlines() or [type(failure).__name__])[0][:200]
    way = "another example_input" if example_input is not None else "example_input, an input of it"
    raise InputError(f"{type(model).__name__} cannot be traced ({reason}); give {way}")


@contextmanager
def _unchanged(model: nn.Module) -> Iterator[None]:
    """Give back what a forward writes on its modules, as anchors without numbers."""
    before = [(module, dict(vars(module))) for module in model.modules()]
    try:
        yield
    finally:
        for module, attributes in before:
            vars(module).clear()
            vars(module).update(attributes)


def _attempts(model: nn.Module, example_input: Tensor | None) -> Iterator[Callable[[], Tape]]:
    """Yield the ways to run a network: without data first, then with."""
    examples = [*_examples(model)] if example_input is None else [example_input]
    for x in examples:
        for forward in _forwards(model):
            yield partial(_run_empty, model, forward, x.to("meta"))
        yield partial(_run_empty, model, model, [x[0].to("meta")])  # a detector takes a list
    device = next((p.device for p in model.parameters()), torch.device("cpu"))
    for x in examples:
        filled = torch.zeros(x.shape, dtype=x.dtype, device=device) if example_input is None else x
        for forward in _forwards(model):
            yield partial(run, model, (filled,), forward)
        yield partial(run, model, ([filled[0]],), model)


def _forwards(model: nn.Module) -> Iterator[Callable[..., Any]]:
    """Yield what can be called: the network, its features where its head is gone, or its part."""
    if type(model).forward is not nn.Module.forward:
        yield model
        if hasattr(model, "forward_intermediates"):
            yield model.forward_intermediates  # type: ignore[misc]
        return
    for part in model.children():
        yield from _forwards(part)


def _examples(model: nn.Module) -> Iterator[Tensor]:
    first = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    depths = dict.fromkeys([first.in_channels if first is not None else 3, 3])
    dtype = next((p.dtype for p in model.parameters() if p.is_floating_point()), torch.float32)
    noted = noted_size(model)
    sizes = [tuple(noted[1:])] if noted else [(size, size) for size in SIZES]
    for size, channels in product(sizes, depths):
        yield torch.empty(1, channels, *size, device="meta", dtype=dtype)


def _run_empty(model: nn.Module, forward: Callable[..., Any], x: Tensor | list[Tensor]) -> Tape:
    """Run a network without its numbers."""
    state = [*model.named_parameters(), *model.named_buffers()]
    empty = {name: tensor.detach().to("meta") for name, tensor in state}
    with _reparametrize_module(model, empty):
        return run(model, (x,), forward)
