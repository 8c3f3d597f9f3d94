"""A gate's scale on the columns of the next 1x1 convolution instead of on its input.

    W (s * h)_p = sum_c W_c s_c h_cp = (W diag s) h_p

for a scale s of whole channels: W diag s is one matrix for each image, so the positions times the
input channels need no pass of their own, and the output channels times the input channels do.
"""

from typing import Any

from torch import Tensor, nn

from convgate.fold.net import Net, Step, numel, shape, sole_user
from convgate.fold.pointwise import factors, is_pointwise

IDENTITY = "scale into the next 1x1 convolution"


def scaled_mix(h: Tensor, s: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return (W diag s) h + b: h (N, C, H, W), s (N, C, 1, 1), weight (C', C, 1, 1)."""
    own = weight.flatten(1) * s.to(h.dtype).flatten(1)[:, None]  # (N, C', C)
    y = (own @ h.flatten(2)).unflatten(2, h.shape[2:])
    return y if bias is None else y + bias[:, None, None]


def scale_weights(net: Net) -> None:
    """Scale the weights of every 1x1 convolution that alone uses what a gate has scaled."""
    for step in list(net.graph.nodes):
        found = factors(step)
        user: Any = sole_user(step)
        conv = net.called(user, nn.Conv2d)
        if found is None or conv is None or not is_pointwise(conv):
            continue
        h, s = found
        if shape(s)[2:] == (1, 1):
            _scale(net, step, user, conv)
    net.settle()


def _scale(net: Net, product: Step, user: Step, conv: nn.Conv2d) -> None:
    h, s = factors(product)  # type: ignore[misc]
    net.did(user.target, IDENTITY, 2 * numel(h), 2 * conv.weight.numel())
    with net.graph.inserting_before(user):
        weight = net.graph.get_attr(f"{user.target}.weight")
        bias = None if conv.bias is None else net.graph.get_attr(f"{user.target}.bias")
        new = net.graph.call_function(scaled_mix, (h, s, weight, bias))
    user.replace_all_uses_with(new)
    net.graph.erase_node(user)
