"""What float16 cannot hold: its range ends at 65504, where sums and squares of a map only begin.

A gate on a float16 map computes its scale in float32; what it gives or keeps may then still leave
the range, and its docstring says where. The other dtypes reach as far as float32, and nothing here
moves them.
"""

import torch
from torch import Tensor, nn
from torch.func import functional_call


def widened(x: Tensor) -> Tensor:
    """Return x in float32 if it is float16, else x itself."""
    return x.to(torch.float32) if x.dtype == torch.float16 else x


def matched(value: Tensor, x: Tensor) -> Tensor:
    """Return a statistic of x in the dtype of x, or in float32 for float16."""
    return value.to(torch.float32 if x.dtype == torch.float16 else x.dtype)


def scaled(x: Tensor, s: Tensor) -> Tensor:
    """Return s x in the dtype of x.

    The gradient of s is a sum of x dy over positions: while gradients are on, the product of
    float16 numbers is one of float32.
    """
    if x.dtype == torch.float16 and torch.is_grad_enabled():
        return (x * widened(s)).to(x.dtype)
    return x * s.to(x.dtype)


def apply_wide(layer: nn.Module, x: Tensor) -> Tensor:
    """Return layer(x), computed in float32 where the layer's own numbers are float16.

    Running statistics that have left the range are infinite in the layer.
    """
    if next(layer.parameters()).dtype != torch.float16:
        plain: Tensor = layer(x)
        return plain
    own = {**dict(layer.named_parameters()), **dict(layer.named_buffers())}
    wide = {name: widened(value) for name, value in own.items()}
    y: Tensor = functional_call(layer, wide, (widened(x),))
    if layer.training:
        with torch.no_grad():
            for name, buffer in layer.named_buffers():
                if buffer.dtype == torch.float16:
                    buffer.copy_(wide[name])
    return y
