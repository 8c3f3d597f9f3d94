"""Keep gates where they were put, whatever exchanges the modules that carry them.

Conversions of norms (`convert_sync_batchnorm`, timm's `freeze_batch_norm_2d`) build a norm anew and
drop its hooks; graph rewriters merge a convolution and the norm after it. So the module around a
carrier looks before each forward whether its gates are there, and puts them back; and a batch norm
with a gate has a class of its own, which no rewriter takes for a plain one. A module that merges
its layers into one refuses where a gate would go with them.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn

from convgate.errors import InputError
from convgate.insertion.hooks import hook, hooks_of, is_hooked, unhook
from convgate.insertion.module_tree import CHILDREN, MARK, child, join

MERGES = ("fuse", "reparameterize", "switch_to_deploy")
"""The methods by which networks merge layers, those that timm's `reparameterize_model` calls."""
KEPT = "kept_gates"
"""The attribute of a module that says which gates are on parts of it."""


class GatedBatchNorm2d(nn.BatchNorm2d):
    """A batch norm that carries a gate: the same numbers, keys and arithmetic."""

    def _check_input_dim(self, input: Tensor) -> None:  # its test stops a symbolic trace
        pass


def keep(model: nn.Module, path: str, where: str) -> None:
    """Keep the gate that was put on a module."""
    carrier = model.get_submodule(path)
    if type(carrier) is nn.BatchNorm2d:
        carrier.__class__ = GatedBatchNorm2d
    around, inner = _around(model, path)
    gates = vars(around).setdefault(KEPT, {})
    if not gates:
        around.register_forward_pre_hook(put_back)
    gates[inner, where] = carrier.get_submodule(CHILDREN[where])
    for merging, name in _merging(model, path):
        vars(merging)[name] = partial(merge, merging, name)


def let_go(model: nn.Module, path: str, where: str) -> None:
    """Keep the gate on a module no longer."""
    carrier = model.get_submodule(path)
    if type(carrier) is GatedBatchNorm2d and not any(
        name in carrier._modules for name in CHILDREN.values()
    ):
        carrier.__class__ = nn.BatchNorm2d  # type: ignore[assignment]
    for merging, name in _merging(model, path):
        if not any(MARK in vars(part) for part in merging.modules()):
            vars(merging).pop(name, None)
    around, inner = _around(model, path)
    gates = vars(around).get(KEPT, {})
    gates.pop((inner, where), None)
    if not gates:
        vars(around).pop(KEPT, None)
        hooks = around._forward_pre_hooks
        for key in [key for key, function in hooks.items() if function is put_back]:
            del hooks[key]


def merge(module: nn.Module, name: str) -> Any:
    """Merge the layers of a module, and see that the gates inside it stay where they are.

    Raises:
        InputError: if one of them is gone.
    """
    gates = [(path, part) for path, part in module.named_modules() if path and MARK in vars(part)]
    merged = getattr(type(module), name)(module)
    whole = module if merged is None else merged
    lost = next((path for path, gate in gates if child(whole, path) is not gate), None)
    if lost is not None:
        raise InputError(
            f"{type(module).__name__}.{name} merges the layer that carries the gate {lost!r}; "
            "reparameterise the network first, and insert gates after it"
        )
    return merged


def _merging(model: nn.Module, path: str) -> Iterator[tuple[nn.Module, str]]:
    """Yield the modules around a carrier that merge their layers, and by which method."""
    steps = path.split(".")
    for depth in range(1, len(steps)):
        module = model.get_submodule(".".join(steps[:depth]))
        for name in MERGES:
            if callable(getattr(type(module), name, None)):
                yield module, name


def put_back(module: nn.Module, args: tuple[Any, ...]) -> None:
    """Before a forward: put gates back on modules that were exchanged."""
    if torch.compiler.is_compiling():
        return
    for (path, where), gate in vars(module).get(KEPT, {}).items():
        carrier = child(module, path)
        name = CHILDREN[where]
        if carrier is None or (carrier._modules.get(name) is gate and is_hooked(carrier, name)):
            continue
        carrier.add_module(name, gate)
        if not is_hooked(carrier, name):
            hook(carrier, where, vars(gate)[MARK].site.layout)


@contextmanager
def without_gates(model: nn.Module) -> Iterator[None]:
    """Let no inserted gate of a network run within the block, nor be put back."""
    taken: list[tuple[dict[int, Any], dict[int, Any]]] = []
    kept = [(module, vars(module).pop(KEPT)) for module in model.modules() if KEPT in vars(module)]
    for module in model.modules():
        for name in CHILDREN.values():
            gate = module._modules.get(name)
            if gate is not None and MARK in vars(gate):
                hooks = hooks_of(module, name)
                taken.append((hooks, dict(hooks)))
                unhook(module, name)
    try:
        yield
    finally:
        for hooks, all_ in reversed(taken):
            hooks.clear()
            hooks.update(all_)
        for module, gates in kept:
            vars(module)[KEPT] = gates


def _around(model: nn.Module, path: str) -> tuple[nn.Module, str]:
    """Return the nearest module around a part that is called itself, and the path from there."""
    above, _, inner = path.rpartition(".")
    while above and isinstance(child(model, above), (nn.ModuleList, nn.ModuleDict)):
        above, _, name = above.rpartition(".")
        inner = join(name, inner)
    return model.get_submodule(above), inner
