"""What is measured against what: networks, engines, dtypes."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from convgate.folding import fold
from convgate.insertion import insert
from convgate.models import create_model
from convgate.models.selnext_block import SELNeXtBlock

IMAGE_PX = 224
Build = Callable[[Tensor], nn.Module]


@dataclass(frozen=True)
class Case:
    """Networks that are compared in one engine.

    Args:
        subject: The file of the results.
        engine: Of `convgate.deploy.engines`.
        dtype: Of the arithmetic.
        nets: Name to what builds the network from an image batch; the first is the base.
        eager: Networks that ride along in eager float32, whatever the engine.
        int8: Networks that ride along in int8.
        parts: Equal parts of the batch that OpenVINO runs side by side.
    """

    subject: str
    engine: str
    dtype: str
    nets: Mapping[str, Build]
    eager: tuple[str, ...] = ()
    int8: tuple[str, ...] = ()
    parts: int = 1


def plain(name: str, gate: str | None = None, folds: bool = False) -> Build:
    """Return what builds a network, with a gate at every block's end, folded or not."""

    def build(x: Tensor) -> nn.Module:
        torch.manual_seed(0)
        net = create_model(name).eval()
        if gate is not None:
            insert(net, gate, at="block_end", start="paper")
        alive(net)
        return fold(net, x) if folds else net.eval()

    return build


def authors(x: Tensor) -> nn.Module:
    """Build SELNeXt-T as its authors publish it, written out plainly: what a user would run."""
    return as_authors(plain("selnext_tiny")(x)).eval()


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


def alive(net: nn.Module) -> nn.Module:
    """Give layer scales and norms of a fresh network numbers that a trained one could have."""
    random = torch.Generator().manual_seed(1)
    with torch.no_grad():
        for name, value in net.named_parameters():
            if value.ndim == 1 and not name.endswith("bias"):
                low, high = (0.1, 0.3) if name.endswith("gamma") else (0.5, 1.5)
                value.copy_(low + (high - low) * torch.rand(value.shape, generator=random))
    return net


SELNEXT: dict[str, Build] = {
    "convnext_tiny": plain("convnext_tiny"),
    "convnext_tiny, folded": plain("convnext_tiny", folds=True),
    "selnext_tiny, authors' form": authors,
    "selnext_tiny": plain("selnext_tiny"),
    "selnext_tiny, folded": plain("selnext_tiny", folds=True),
}

RESNET: dict[str, Build] = {
    "resnet50": plain("resnet50"),
    "seresnet50 of timm": plain("seresnet50"),
    "se": plain("resnet50", "se"),
    **{
        f"{gate}, folded": plain("resnet50", gate, folds=True)
        for gate in ("se", "eca", "seln", "ela_b", "ca")
    },
}

FASTEST = {"eager": ("convnext_tiny",), "int8": ("selnext_tiny, folded",)}

CASES = (
    Case("selnext", "openvino", "bfloat16", SELNEXT, **FASTEST, parts=4),
    Case("selnext", "openvino", "float32", SELNEXT, parts=4),
    Case("selnext", "openvino", "bfloat16", SELNEXT),
    Case("selnext", "openvino", "float32", SELNEXT),
    Case("selnext", "onnxruntime", "float32", SELNEXT),
    Case("selnext", "eager", "float32", SELNEXT),
    Case("selnext", "compile", "bfloat16", SELNEXT),
    Case("resnet50", "openvino", "float32", RESNET, parts=4),
    Case("resnet50", "openvino", "bfloat16", RESNET, parts=4),
    Case("resnet50", "openvino", "float32", RESNET),
    Case("resnet50", "openvino", "bfloat16", RESNET),
    Case("resnet50", "eager", "float32", RESNET),
)
