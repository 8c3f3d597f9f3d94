"""Fold a network for inference: the same function with fewer passes over memory."""

import copy

import torch
from torch import Tensor, nn

from convgate.errors import InputError, unknown
from convgate.folding.constants import fold_constants
from convgate.folding.dead_ops import remove_dead_ops
from convgate.folding.gate_forms import convolve_strips, fold_blends, fold_ean
from convgate.folding.gates import leave_whole, note_gates, split_gates
from convgate.folding.gelu_mean import fuse_gelu_means
from convgate.folding.inplace import store_in_place
from convgate.folding.layout import order_axes
from convgate.folding.net import Net, trace
from convgate.folding.norms import fold_affines, fold_norms
from convgate.folding.report import FoldReport
from convgate.folding.residual import fuse_residual_sums
from convgate.folding.scale_into_conv import SIDES, Side, scale_weights
from convgate.folding.squeeze import squeeze_first
from convgate.insertion.trace import noted_size
from convgate.measure.operators import tensors
from convgate.measure.parity import FOLD_TOLERANCE, relative_difference
from convgate.measure.settings import rounding_to_tf32

REPORT = "fold_report"
IMAGE_PX = 224  # where neither an example nor timm's notes tell

BEFORE = (
    remove_dead_ops, fold_blends, fold_ean, split_gates, fold_norms, fold_affines, fold_constants,
)  # fmt: skip
AFTER = (order_axes, squeeze_first, convolve_strips, fold_constants, fuse_residual_sums)


def fold(
    model: nn.Module, example_input: Tensor | None = None, *, scale: Side = "activations"
) -> nn.Module:
    """Return a copy of a network that computes the same at inference with fewer passes.

    Norms go into convolutions, a gate's squeeze before the 1x1 convolution in front of it, its
    scale into what follows, and constants into the layers next to them. Each identity has a file
    of its own in this package, with its proof. The copy is in evaluation mode, its parameters take
    no gradient, and the names in its state dict are its own; the network stays as it was.

    Args:
        model: A network.
        example_input: Images (N, C, H, W) of varied numbers. They tell the sizes by which a fold
            is worth while, and the copy is verified on them. By default one image of the size that
            timm notes on its networks, or of 224 px.
        scale: What a gate before a 1x1 convolution scales: the convolution's input
            ("activations"), its weights ("weights"), or what is faster in PyTorch on the example's
            device and batch, layer by layer ("measured"). The first suits exported networks: a
            product with a matrix for each image is slow in OpenVINO.

    Raises:
        InputError: for an unknown ``scale``, if the network is no fixed graph or does not take
            the image, or if the copy's output differs by more than 1e-5 of its norm in float32.
    """
    if scale not in SIDES:
        raise unknown("side to scale", scale, SIDES)
    x = example_input if example_input is not None else _image(model)
    twin = copy.deepcopy(model).eval().requires_grad_(False)
    net = Net(trace(copy.deepcopy(twin)), x[:1])
    for identity in (*BEFORE, *AFTER):
        identity(net)
    scale_weights(net, scale, len(x))
    store_in_place(net)
    fuse_gelu_means(net)
    net.drop_unused()
    note_gates(net, model)
    leave_whole(net)
    difference = _difference(net.module, twin, x)
    report = FoldReport(type(model).__name__, tuple(net.folds), tuple(net.kept), difference)
    _check(report, x.dtype)
    _note(net.module, model, report)
    return net.module


def folded(copy: nn.Module) -> FoldReport:
    """Return what was folded in a copy that `fold` gave.

    Raises:
        InputError: for any other network.
    """
    report = getattr(copy, REPORT, None)
    if not isinstance(report, FoldReport):
        raise InputError(f"this {type(copy).__name__} was not folded; give what fold() returned")
    return report


def _image(model: nn.Module) -> Tensor:
    conv = next((m for m in model.modules() if isinstance(m, nn.Conv2d)), None)
    if conv is None:
        raise InputError(f"{type(model).__name__} has no convolution; give fold an example_input")
    size = (noted_size(model) or (0, IMAGE_PX, IMAGE_PX))[1:]
    weight = conv.weight
    channels = conv.in_channels
    random = torch.Generator().manual_seed(0)
    return torch.randn(1, channels, *size, generator=random).to(weight.device, weight.dtype)


def _difference(copy: nn.Module, model: nn.Module, x: Tensor) -> float:
    outputs = []
    with torch.no_grad(), torch.random.fork_rng(), rounding_to_tf32(False):
        for net in (copy, model):
            torch.manual_seed(0)  # for gates that draw numbers
            outputs.append(list(tensors(net(x.clone()))))
    copied, own = map(len, outputs)
    if copied != own or not own:
        raise InputError(
            f"{type(model).__name__} cannot be folded: a copy of its graph returns {copied} of its "
            f"{own} tensors, so it cannot be verified"
        )
    return max(map(relative_difference, *outputs))


def _check(report: FoldReport, dtype: torch.dtype) -> None:
    limit = FOLD_TOLERANCE.get(dtype, 0.0)
    if not report.difference <= limit:  # also catches nan
        raise InputError(
            f"{report.model}: folded, its output differs by {report.difference:.2g} of its norm, "
            f"more than {limit:g}; it is not folded (use the network as it is)"
        )


def _note(copy: nn.Module, model: nn.Module, report: FoldReport) -> None:
    object.__setattr__(copy, REPORT, report)
    for name in ("pretrained_cfg", "num_classes"):
        if hasattr(model, name):
            object.__setattr__(copy, name, getattr(model, name))
