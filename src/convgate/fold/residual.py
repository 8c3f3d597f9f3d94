"""The product with the scale and the sum with the shortcut in one pass.

    s y + shortcut = addcmul(shortcut, y, s)

is one multiply-add at every position, where the product by itself reads and writes y once more. It
holds where nothing but the sum uses the product.
"""

import torch
from torch import Tensor

from convgate.fold.net import Net, numel, sole_user
from convgate.fold.pointwise import factors, terms

IDENTITY = "scale with the residual sum"


def scale_and_add(y: Tensor, s: Tensor, shortcut: Tensor) -> Tensor:
    """Return s y + shortcut."""
    return torch.addcmul(shortcut, y, s.to(y.dtype))


def join_sums(net: Net) -> None:
    """Join every product with a scale to the sum after it."""
    for step in list(net.graph.nodes):
        added = terms(step)
        if added is None:
            continue
        product = next((term for term in added if factors(term) and sole_user(term) is step), None)
        if product is None or added[0] is added[1]:
            continue
        y, s = factors(product)  # type: ignore[misc]
        shortcut = added[1] if added[0] is product else added[0]
        with net.graph.inserting_before(step):
            new = net.graph.call_function(scale_and_add, (y, s, shortcut))
        net.did(_name(product), IDENTITY, 5 * numel(step), 3 * numel(step))
        step.replace_all_uses_with(new)
        net.graph.erase_node(step)
        net.graph.erase_node(product)
    net.settle()


def _name(step: object) -> str:
    return str(step)
