"""How networks enter timm: their configurations, what builds them, their names."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import torch
from timm.data import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from timm.models import build_model_with_cfg, register_model
from torch import nn


def imagenet_cfg(**kwargs: Any) -> dict[str, Any]:
    """Return timm's configuration of a network for photographs of 224 px."""
    return {
        "url": "",
        "num_classes": 1000,
        "input_size": (3, 224, 224),
        "pool_size": (7, 7),
        "crop_pct": 0.875,
        "interpolation": "bicubic",
        "mean": IMAGENET_DEFAULT_MEAN,
        "std": IMAGENET_DEFAULT_STD,
        **kwargs,
    }


def cifar_cfg(**kwargs: Any) -> dict[str, Any]:
    """Return timm's configuration of a network for photographs of 32 px."""
    return {
        "url": "",
        "num_classes": 10,
        "input_size": (3, 32, 32),
        "crop_pct": 1.0,
        "interpolation": "bilinear",
        "mean": (0.4914, 0.4822, 0.4465),  # of the training photographs of CIFAR-10
        "std": (0.2470, 0.2435, 0.2616),
        "first_conv": "conv1",
        "classifier": "fc",
        **kwargs,
    }


def build(
    kind: Callable[..., nn.Module],
    variant: str,
    pretrained: bool,
    *,
    device: torch.device | str | None = None,
    dtype: torch.dtype | None = None,
    **kwargs: Any,
) -> Any:
    """Build a network as timm's own are; ``device`` and ``dtype`` are those of all its tensors."""
    with nullcontext() if device is None else torch.device(device):
        model = build_model_with_cfg(kind, variant, pretrained, **kwargs)
    return model if dtype is None else model.to(dtype)


def register_networks(module: str, create: Callable[..., nn.Module], **networks: str) -> None:
    """Enter networks in timm's registry by name, each with a sentence on what it is.

    ``create`` gets the name, whether weights are to be fetched, and the caller's own arguments.
    """
    for name, what in networks.items():

        def entry(pretrained: bool = False, *, _name: str = name, **kwargs: Any) -> nn.Module:
            return create(_name, pretrained, **kwargs)

        entry.__name__, entry.__module__, entry.__doc__ = name, module, what
        register_model(entry)
