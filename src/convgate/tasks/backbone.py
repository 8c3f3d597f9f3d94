"""A classifier as a backbone: feature maps, their widths and strides, for images of any size."""

from collections import OrderedDict
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Any, Self, cast

import timm
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.layers.norm import LayerNorm2d
from torch import Tensor, nn

from convgate.errors import InputError
from convgate.insertion import inserted
from convgate.models import create_model
from convgate.models.checkpoint import check_fit, read_weights

NORM_EPS = 1e-6
# A window that shrinks to a small training image would lose its shift for good.
ANY_SIZE = {"timm.models.swin_transformer": {"strict_img_size": False, "always_partition": True}}


class Map(nn.Identity):
    """A feature map that leaves the backbone as it is, under a name that can take a gate."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.num_channels = channels


class Backbone(nn.Module):
    """The body of a classifier, under the classifier's own parameter names (prefix ``body.``).

    Gates may be inserted before or after; ``ends.0``, ``ends.1``... are the maps that leave it.

    Shape: x (N, 3, H, W) -> {"0": (N, channels[0], H / strides[0], W / strides[0]), ...}.
    Source: the norms on the maps (layer norm over channels, eps 1e-6) as in
        facebookresearch/ConvNeXt, object_detection.

    Args:
        body: A network with timm's `forward_intermediates`.
        out_indices: Which of its feature stages to give; the deepest of every stride by default.
        norm_outputs: Put a layer norm on every map, as ConvNeXt, SELNeXt and Swin have it.
        frozen_stages: So many of its feature stages, and all before them, are not trained; in a
            ResNet the first is the stem.
        frozen_norms: Its batch norms keep their statistics and are not trained.
    """

    def __init__(
        self,
        body: nn.Module,
        out_indices: Sequence[int] | None = None,
        *,
        norm_outputs: bool = False,
        frozen_stages: int = 0,
        frozen_norms: bool = False,
    ) -> None:
        super().__init__()
        self.body = cast(Any, body)
        info = _feature_info(body)
        self.out_indices = _indices(body, info, out_indices)
        whole = set(body.state_dict())
        self.body.prune_intermediate_layers(list(self.out_indices), prune_norm=True)
        self.dropped = frozenset(whole - set(body.state_dict()))
        self.channels = tuple(info[i]["num_chs"] for i in self.out_indices)
        self.strides = tuple(info[i]["reduction"] for i in self.out_indices)
        self.ends = nn.ModuleList(
            LayerNorm2d(c, NORM_EPS) if norm_outputs else Map(c) for c in self.channels
        )
        config = getattr(body, "pretrained_cfg", None) or {}
        self.mean = tuple(config.get("mean", IMAGENET_DEFAULT_MEAN))
        self.std = tuple(config.get("std", IMAGENET_DEFAULT_STD))
        self.still = freeze_stages(body, frozen_stages)
        if frozen_norms:
            self.still += freeze_norms(body)

    def forward(self, x: Tensor) -> OrderedDict[str, Tensor]:
        maps = self.body.forward_intermediates(
            x, indices=list(self.out_indices), intermediates_only=True
        )
        ended = (end(y) for end, y in zip(self.ends, maps, strict=True))
        return OrderedDict((str(i), y) for i, y in enumerate(ended))

    def train(self, mode: bool = True) -> Self:
        """Switch the mode of all that is not frozen."""
        super().train(mode)
        for path in self.still:
            self.body.get_submodule(path).training = False  # not eval(), which takes gates along
        return self

    def last(self, count: int) -> Self:
        """Keep the deepest ``count`` maps alone, in place."""
        if len(self.channels) < count:
            raise InputError(
                f"{type(self.body).__name__} gives {len(self.channels)} feature maps (strides "
                f"{', '.join(map(str, self.strides))}) and {count} are needed; use a deeper network"
            )
        self.out_indices = self.out_indices[-count:]
        self.channels, self.strides = self.channels[-count:], self.strides[-count:]
        self.ends = self.ends[-count:]
        return self

    def load(self, path: str | Path, *, ema: bool = True) -> None:
        """Load the weights of a classifier; those of its head, or of stages not used, are left out.

        Norms on the maps, and gates that the file has no weights for, stay as they are.
        """
        self.body.load_state_dict(body_weights(self.body, self.dropped, path, ema=ema))


def create_backbone(
    model: str | nn.Module,
    *,
    out_indices: Sequence[int] | None = None,
    norm_outputs: bool = False,
    frozen_stages: int = 0,
    frozen_norms: bool = False,
    checkpoint_path: str | Path | None = None,
    **kwargs: Any,
) -> Backbone:
    """Build a backbone from a network or its name."""
    if isinstance(model, str):
        home = timm.model_entrypoint(model).__module__ if timm.is_model(model) else ""
        model = create_model(model, **{**ANY_SIZE.get(home, {}), **kwargs})
        if home in ANY_SIZE:
            model.patch_embed.dynamic_img_pad = True  # type: ignore[union-attr]
    backbone = Backbone(
        model,
        out_indices,
        norm_outputs=norm_outputs,
        frozen_stages=frozen_stages,
        frozen_norms=frozen_norms,
    )
    if checkpoint_path is not None:
        backbone.load(checkpoint_path)
    return backbone


def freeze_stages(body: nn.Module, count: int) -> list[str]:
    """Stop the gradients of the first feature stages, and of all that the network has before them.

    Returns:
        The paths of the frozen modules, to be held in evaluation mode.
    """
    tops = paths_up_to(body, count)
    for path in tops:
        body.get_submodule(path).requires_grad_(False)
    return [path for top in tops for path, _ in body.get_submodule(top).named_modules(prefix=top)]


def freeze_norms(body: nn.Module) -> list[str]:
    """Stop the gradients of the batch norms outside inserted gates; return their paths."""
    gates = tuple(f"{path}." for path, _, _ in inserted(body))
    paths = [
        path
        for path, module in body.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not path.startswith(gates)
    ]
    for path in paths:
        norm = body.get_submodule(path)
        for parameter in norm.parameters(recurse=False):
            parameter.requires_grad_(False)
    return paths


def paths_up_to(body: nn.Module, stages: int) -> list[str]:
    """Return the paths of the first feature stages and of all that the network has before them.

    Raises:
        InputError: if it has fewer, or none at all.
    """
    info = _feature_info(body)
    if not 0 <= stages <= len(info):
        raise InputError(
            f"frozen_stages={stages}: {type(body).__name__} has {len(info)} feature stages"
        )
    paths: list[str] = []
    if stages == 0:
        return paths
    steps = info[stages - 1]["module"].split(".")
    above = ""
    for depth, step in enumerate(steps):
        names = list(body.get_submodule(above)._modules)
        paths += [f"{above}.{name}".lstrip(".") for name in names[: names.index(step)]]
        above = ".".join(steps[: depth + 1])
    return [*paths, above]


def body_weights(
    body: nn.Module, dropped: Collection[str], path: str | Path, *, ema: bool = True
) -> dict[str, Tensor]:
    """Read a classifier's checkpoint and return what of it belongs to the body."""
    weights = read_weights(path, ema=ema)
    own = body.state_dict()
    gates = tuple(f"{gate}." for gate, _, _ in inserted(body))
    shared = own.keys() & weights.keys()
    lacks = [key for key in own.keys() - shared if not key.startswith(gates)]
    check_fit(path, body, weights, lacks=lacks, spare=dropped)
    return {key: weights[key] for key in shared}


def _feature_info(body: nn.Module) -> list[dict[str, Any]]:
    info = getattr(body, "feature_info", None)
    if not info or not hasattr(body, "forward_intermediates"):
        raise InputError(
            f"{type(body).__name__} gives no feature maps; use a network of timm's or ours "
            "(timm's names have no 'torchvision/' before them)"
        )
    return list(getattr(info, "info", info))


def _indices(
    body: nn.Module, info: list[dict[str, Any]], wanted: Sequence[int] | None
) -> tuple[int, ...]:
    if wanted is None:
        return tuple(sorted({stage["reduction"]: i for i, stage in enumerate(info)}.values()))
    outside = [i for i in wanted if not 0 <= i < len(info)]
    if outside or not wanted or sorted(set(wanted)) != list(wanted):
        raise InputError(
            f"out_indices={tuple(wanted)}: {type(body).__name__} has the feature stages 0 to "
            f"{len(info) - 1}; name some of them in order"
        )
    return tuple(wanted)
