"""A gate's scale on the columns of the next 1x1 convolution instead of on its input.

    W (s * h)_p = sum_c W_c s_c h_cp = (W diag s) h_p

for a scale s of whole channels: W diag s is one matrix for each image. Which side to scale is a
choice: the input has a number for each position and channel, the matrix one for each pair of
channels, but a product with a matrix for each image is slower on many processors.
"""

from collections.abc import Callable
from time import perf_counter
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convgate.folding.net import GATE, Net, Step, numel, shape, sole_user
from convgate.folding.steps import factors, is_pointwise, multiply

Side = Literal["activations", "weights", "measured"]
SIDES = ("activations", "weights", "measured")
IDENTITY = "scale into the next 1x1 convolution"
TRIALS = 7


def scaled_mix(h: Tensor, s: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return (W diag s) h + b: h (N, C, H, W), s (N, C, 1, 1), weight (C', C, 1, 1)."""
    own = weight.flatten(1) * s.to(h.dtype).flatten(1)[:, None]  # (N, C', C)
    y = torch.unflatten(own @ h.flatten(2), 2, h.shape[2:])
    return y if bias is None else y + bias[:, None, None]


def scale_input(h: Tensor, s: Tensor, weight: Tensor, bias: Tensor | None) -> Tensor:
    """Return W (s h) + b, the same with the input scaled."""
    return F.conv2d(multiply(h, s), weight, bias)


def scale_weights(net: Net, side: Side, batch: int) -> None:
    """Scale the weights of 1x1 convolutions that alone use what a gate has scaled.

    The side "activations" leaves all as it is, "weights" takes every such convolution, and
    "measured" those where it is faster on this device for ``batch`` images.
    """
    for step in list(net.graph.nodes) if side != "activations" else ():
        found = factors(step)
        user: Any = sole_user(step)
        conv = net.called(user, nn.Conv2d)
        if found is None or conv is None or not is_pointwise(conv):
            continue
        if shape(found[1])[2:] != (1, 1) or (
            side == "measured" and not _pays(found[0], conv, batch)
        ):
            continue
        net.note_fold(
            step.meta.get(GATE, user.target), IDENTITY, 2 * numel(step), 2 * conv.weight.numel()
        )
        _scale(net, found, user, conv)
    net.refresh()


def _scale(net: Net, scaled: tuple[Step, Step], user: Step, conv: nn.Conv2d) -> None:
    with net.graph.inserting_before(user):
        weight = net.graph.get_attr(f"{user.target}.weight")
        bias = None if conv.bias is None else net.graph.get_attr(f"{user.target}.bias")
        new = net.graph.call_function(scaled_mix, (*scaled, weight, bias))
    user.replace_all_uses_with(new)
    net.graph.erase_node(user)


def _pays(h: Step, conv: nn.Conv2d, batch: int) -> bool:
    """Whether scaled weights are faster than a scaled input, by the fastest of a few trials."""
    image = torch.randn(batch, *shape(h)[1:], device=conv.weight.device, dtype=conv.weight.dtype)
    scale = torch.rand_like(image[:, :, :1, :1])
    forms = (scaled_mix, scale_input)
    times = [[_seconds(form, image, scale, conv) for form in forms] for _ in range(TRIALS)]
    weights, activations = (min(column) for column in zip(*times, strict=True))
    return weights < activations


def _seconds(form: Callable[..., Tensor], h: Tensor, s: Tensor, conv: nn.Conv2d) -> float:
    start = perf_counter()
    float(form(h, s, conv.weight, conv.bias).flatten()[0])  # waits for the device
    return perf_counter() - start
