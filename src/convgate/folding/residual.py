"""The product with the scale, the sum with the shortcut and its ReLU in one pass.

    relu(s y + shortcut) = relu(addcmul(shortcut, y, s))

is one multiply-add at every position, where the product by itself reads and writes y once more. It
holds where nothing but the sum uses the product, and with ReLU where nothing else uses the sum.
"""

import torch
from torch import Tensor, fx, nn
from torch.nn import functional as F

from convgate.folding.net import GATE, Net, Step, numel, sole_user
from convgate.folding.steps import factors, terms
from convgate.kernels.path import takes_fused
from convgate.kernels.scale_residual_act import scale_residual_act

IDENTITY = "scale with the residual sum"


def scale_and_add(y: Tensor, s: Tensor, shortcut: Tensor, act: str = "none") -> Tensor:
    """Return act(s y + shortcut), act "none" or "relu"; on CUDA a channel's scale is one kernel."""
    if tuple(s.shape) == (*y.shape[:2], 1, 1) and takes_fused(y, "scale_residual_act"):
        return scale_residual_act(y, s, shortcut, act)
    total = torch.addcmul(shortcut, y, s.to(y.dtype))
    return total.relu_() if act == "relu" else total


def fuse_residual_sums(net: Net) -> None:
    """Join every product with a scale to the sum after it, and to the ReLU after that."""
    for step in list(net.graph.nodes):
        added = terms(step)
        if added is None:
            continue
        product = next((term for term in added if factors(term) and sole_user(term) is step), None)
        if product is None or added[0] is added[1]:
            continue
        y, s = factors(product)  # type: ignore[misc]
        shortcut = added[1] if added[0] is product else added[0]
        relu = _relu_after(net, step)
        with net.graph.inserting_before(step):
            end = (y, s, shortcut, "relu") if relu else (y, s, shortcut)
            new = net.graph.call_function(scale_and_add, end)
        net.note_fold(product.meta.get(GATE, product), IDENTITY, 5 * numel(step), 3 * numel(step))
        for old in (relu, step, product):
            if old is not None:
                old.replace_all_uses_with(new)
                net.graph.erase_node(old)
    net.refresh()


def _relu_after(net: Net, step: Step) -> Step | None:
    """Return the step that is the ReLU of a sum and its only use, if there is one."""
    user = sole_user(step)
    called = net.called(user, nn.ReLU) is not None
    function = isinstance(user, fx.Node) and user.target in (F.relu, torch.relu, "relu", "relu_")
    return user if called or function else None
