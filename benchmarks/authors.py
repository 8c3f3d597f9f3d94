"""SELNeXt's block as its authors publish it, written out plainly: what a user would run today."""

import torch
from torch import Tensor, nn

from convgate.models.selnext_block import SELNeXtBlock


class AuthorsBlock(nn.Module):
    """Depthwise 7x7, two linear layers on (N, H, W, C), and the gate of 1x1 convolutions between.

    Shape: x (N, C, H, W) -> y (N, C, H, W).
    Source: doi 10.32604/cmc.2025.059966, section 3; the roles of the layers as in oto-q/SELNeXt.

    Args:
        block: Ours, whose numbers it takes.
    """

    def __init__(self, block: SELNeXtBlock) -> None:
        super().__init__()
        self.dwconv, gate = block.conv_dw, block.mlp.gate
        self.pwconv1, self.act, self.pwconv2 = block.mlp.fc1, block.mlp.act, block.mlp.fc2
        self.conv_reduce, self.conv_expand = convolution(gate.squeeze), convolution(gate.excite)
        self.gate, self.gamma = gate.norm, block.gamma

    def forward(self, x: Tensor) -> Tensor:
        y = self.pwconv1(self.dwconv(x).permute(0, 2, 3, 1))
        y = self.act(y).permute(0, 3, 1, 2)
        s = self.conv_expand(torch.relu(self.conv_reduce(y.mean((2, 3), keepdim=True))))
        s = self.gate(s.permute(0, 2, 3, 1)).permute(0, 3, 1, 2)
        y = self.gamma * self.pwconv2((y * s).permute(0, 2, 3, 1))
        return x + y.permute(0, 3, 1, 2)


def convolution(linear: nn.Linear) -> nn.Conv2d:
    """Return a linear layer as a 1x1 convolution."""
    conv = nn.Conv2d(linear.in_features, linear.out_features, 1)
    conv.load_state_dict({"weight": linear.weight.data[:, :, None, None], "bias": linear.bias.data})
    return conv


def as_authors(net: nn.Module) -> nn.Module:
    """Give a SELNeXt the blocks of the authors' form, with its own numbers."""
    for path, module in list(net.named_modules()):
        if isinstance(module, SELNeXtBlock):
            net.set_submodule(path, AuthorsBlock(module))
    return net
