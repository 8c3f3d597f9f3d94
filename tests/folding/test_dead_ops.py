"""Steps that do nothing at inference."""

import torch
import torchvision
from timm.layers import DropPath
from torch import nn

X = torch.randn(2, 8, 5, 6, dtype=torch.float64)


def test_they_go(check, branch):
    idle = [nn.Identity(), nn.Dropout(0.5), nn.Dropout2d(0.5), DropPath(0.5)]
    idle += [torchvision.ops.StochasticDepth(0.5, "row")]
    made, _ = check(branch(nn.Conv2d(8, 8, 1), *idle), X)
    targets = [str(node.target) for node in made.graph.nodes if node.op.startswith("call")]
    assert len(targets) == 3  # convolution, sum, activation


def test_what_is_told_to_train_stays(check):
    class Drops(nn.Module):
        def forward(self, x):
            return torchvision.ops.stochastic_depth(x, 1.0, "batch", True) + x

    made, _ = check(Drops(), X)
    assert torch.equal(made(X), X)
