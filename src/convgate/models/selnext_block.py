"""The block of SELNeXt: ConvNeXt's, with a gate on the hidden features and without the norm.

https://doi.org/10.32604/cmc.2025.059966 on https://arxiv.org/abs/2201.03545.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import cast

import torch
from timm.layers.drop import DropPath
from timm.models import register_notrace_module
from torch import Tensor, nn

from convgate.gates import GATES, Gate, PooledGate
from convgate.kernels.choice import fastest
from convgate.kernels.path import takes_fused
from convgate.kernels.selnext_block import selnext_expand, selnext_project
from convgate.kernels.selnext_recompute import fits, selnext_recompute, selnext_squeeze
from convgate.models.trunk import NORM_EPS

register_notrace_module(Gate)  # torch.fx takes a gate as one step


@dataclass(frozen=True, kw_only=True)
class BlockOptions:
    """The rows of the paper's Table 9; its ConvNeXt V2 is GRN with norm and without gamma."""

    gate: str = "seln"  # a registered gate on the hidden features, or "none"
    gate_options: Mapping[str, object] = field(default_factory=dict)  # the gate's own options
    block_norm: bool = False  # keep ConvNeXt's layer norm after the depthwise convolution
    ls_init_value: float = 1e-6  # first value of the layer scale gamma; 0 leaves gamma out


class GatedMlp(nn.Module):
    """Expand four times, GELU, gate, project back: y = W2 gate(gelu(W1 x)).

    Shape: x (N, H, W, C) -> y (N, H, W, C); the gate sees a view (N, 4C, H, W).
    Source: doi 10.32604/cmc.2025.059966, section 3.
    """

    def __init__(self, channels: int, options: BlockOptions) -> None:
        super().__init__()
        hidden = 4 * channels
        self.fc1 = nn.Linear(channels, hidden)
        self.act = nn.GELU()
        if options.gate == "none":
            self.gate: nn.Module = nn.Identity()
        else:
            self.gate = GATES.create(options.gate, hidden, **options.gate_options)
        self.fc2 = nn.Linear(hidden, channels)

    def forward(self, x: Tensor) -> Tensor:
        x = self.act(self.fc1(x))
        x = self.gate(x.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
        return self.fc2(x)

    @torch.jit.unused
    def fuses(self, x: Tensor) -> bool:
        """Tell whether the kernels may stand for the layers: as built, and watched by no hook."""
        layers = self.fc1, self.act, self.gate, self.fc2
        built = (
            isinstance(self.gate, PooledGate) and self.gate.pools_mean and type(self.act) is nn.GELU
        )
        built = built and type(self.fc1) is type(self.fc2) is nn.Linear
        return (
            built
            and takes_fused(x, "selnext_expand", "selnext_project")
            and not any(map(_is_watched, layers))
        )

    @torch.jit.unused
    def fused(self, x: Tensor, gamma: Tensor | None, shortcut: Tensor | None) -> Tensor:
        """Return gamma times `forward`, plus the shortcut: two products and a few numbers.

        At inference the hidden features are kept between the products or computed again, whichever
        is faster at this size.
        """
        if torch.is_grad_enabled() or not fits(x):
            return self.keeping(x, gamma, shortcut)
        forms = [partial(form, x, gamma, shortcut) for form in (self.keeping, self.recomputing)]
        return fastest(forms, x, "selnext_block")()

    def keeping(self, x: Tensor, gamma: Tensor | None, shortcut: Tensor | None) -> Tensor:
        """Return what `fused` does, with the hidden features written once and read once."""
        h, mean = selnext_expand(x, self.fc1.weight, self.fc1.bias)
        scale = self._scale(mean.to(h.dtype))
        return selnext_project(h, scale, self.fc2.weight, self.fc2.bias, gamma, shortcut)

    def recomputing(self, x: Tensor, gamma: Tensor | None, shortcut: Tensor | None) -> Tensor:
        """Return what `fused` does, with the hidden features computed twice and never written."""
        expansion, projection = ((fc.weight, fc.bias) for fc in (self.fc1, self.fc2))
        scale = self._scale(selnext_squeeze(x, *expansion).to(x.dtype))
        return selnext_recompute(x, scale, expansion, projection, gamma, shortcut)

    def _scale(self, mean: Tensor) -> Tensor:
        # A map of one position is its own mean: the gate gives what it gives for all of h.
        return cast(Gate, self.gate).gate(mean[:, :, None, None]).flatten(1)


def _is_watched(layer: nn.Module) -> bool:
    return bool(layer._forward_hooks or layer._forward_pre_hooks or layer._backward_hooks)


class SELNeXtBlock(nn.Module):
    """A ConvNeXt block with a gate on its hidden features and, by default, without its norm.

        y = x + gamma W2 gate(gelu(W1 norm(dw7x7(x))))

    Layout: linear layers over channels-last views rather than 1x1 convolutions. On one CPU core,
    from 16 channels at 16x16 to 384 at 7x7, the block then takes 0.85 to 0.88 of the time at
    inference in bfloat16 and 1.13 to 0.89 in float32; the permutations copy nothing, because the
    stem's norm and every block hand channels-last memory on; and the weights have the published
    checkpoints' shapes.

    Shape: x (N, C, H, W) -> y (N, C, H, W).
    Source: doi 10.32604/cmc.2025.059966, section 3 and Table 9.

    Args:
        channels: C.
        options: What Table 9 varies.
        drop_path: Probability that training skips the branch for a sample.
    """

    def __init__(self, channels: int, options: BlockOptions, drop_path: float = 0.0) -> None:
        super().__init__()
        self.conv_dw = nn.Conv2d(channels, channels, 7, padding=3, groups=channels)
        self.norm = nn.LayerNorm(channels, NORM_EPS) if options.block_norm else nn.Identity()
        self.mlp = GatedMlp(channels, options)
        scale = options.ls_init_value
        self.gamma = nn.Parameter(torch.full((channels,), float(scale))) if scale else None
        self.drop_path = DropPath(drop_path) if drop_path else nn.Identity()

    def forward(self, x: Tensor) -> Tensor:
        y = self.norm(self.conv_dw(x).permute(0, 2, 3, 1))  # (N, C, H, W) -> (N, H, W, C)
        if not torch.jit.is_scripting() and self.mlp.fuses(y):  # type: ignore[attr-defined]
            whole = isinstance(self.drop_path, nn.Identity) or not self.training
            y = self.mlp.fused(y, self.gamma, x.permute(0, 2, 3, 1) if whole else None)
            y = y.permute(0, 3, 1, 2)
            return y if whole else self.drop_path(y) + x
        y = self.mlp(y)
        if self.gamma is not None:
            y = y * self.gamma
        # The branch comes first: a sum takes the memory order of its first term, channels-last.
        return self.drop_path(y.permute(0, 3, 1, 2)) + x
