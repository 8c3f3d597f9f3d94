"""Results written over inputs that nothing needs any more.

    y = f(x) stored where x was

is the same numbers, in memory that the cache holds already and without new pages. It holds where
no later step reads x, and x is new memory of a layer: no view that others see, no network's input.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convgate.folding.net import Net, Step, numel
from convgate.folding.steps import multiply, permutation, terms

IDENTITY = "result stored over its input"
FRESH = (nn.Conv2d, nn.Linear)
READERS = ("pool", "gate", "mean")
"""Methods that read a tensor and return none of its memory."""


def multiply_(x: Tensor, s: Tensor) -> Tensor:
    """Store s x in x."""
    return x.mul_(s.to(x.dtype))


def gelu_(x: Tensor) -> Tensor:
    """Store the exact GELU of x in x."""
    return torch.ops.aten.gelu_(x)


def add_(y: Tensor, shortcut: Tensor) -> Tensor:
    """Store y + shortcut in y."""
    return y.add_(shortcut)


STORES = (multiply_, gelu_, add_)


def store_in_place(net: Net) -> None:
    """Let products, sums and GELUs store their result in what they read last."""
    order = {step: index for index, step in enumerate(net.graph.nodes)}
    for step in list(order):
        store, arguments = _storing(net, step)
        if store is None or not _is_free(net, arguments[0], step, order):
            continue
        with net.graph.inserting_before(step):
            new = net.graph.call_function(store, arguments)
        order[new] = order[step]
        step.replace_all_uses_with(new)
        net.graph.erase_node(step)
        net.note_fold(arguments[0], IDENTITY, numel(step), 0)
    net.refresh()


def _storing(net: Net, step: Step) -> tuple[Callable[..., Tensor] | None, tuple[Any, ...]]:
    """Return the form of a step that stores its result in its first argument, if it has one."""
    if _is_exact_gelu(net, step):
        return gelu_, (step.args[0],)
    if step.target is multiply:
        return multiply_, step.args
    added = terms(step)
    return (add_, added) if added else (None, ())


def _is_exact_gelu(net: Net, step: Step) -> bool:
    if step.target is F.gelu:
        return bool(step.kwargs.get("approximate", "none") == "none")
    gelu = net.called(step, nn.GELU)
    return gelu is not None and gelu.approximate == "none"


def _is_free(net: Net, x: Any, step: Step, order: dict[Step, int]) -> bool:
    """Whether x is new memory that no step after this one reads."""
    if not all(user is step or _only_reads(user, order[step], order) for user in x.users):
        return False
    if permutation(x) is not None:
        whole: Any = x.args[0]
        return len(whole.users) == 1 and _is_free(net, whole, x, order)
    return net.called(x, nn.Module).__class__ in FRESH or x.target in STORES


def _only_reads(user: Step, end: int, order: dict[Step, int]) -> bool:
    """Whether a step takes numbers from a tensor, itself or by a view, before the step ``end``."""
    if permutation(user) is not None:
        return all(_only_reads(reader, end, order) for reader in user.users)
    return user.op == "call_method" and user.target in READERS and order[user] < end
