"""Networks that timm and torchvision lack, registered in timm, and all of theirs by name."""

from convgate.models.checkpoint import (
    from_authors,
    load_checkpoint_file,
    load_weights,
    to_authors,
)
from convgate.models.create import create_model, library_of, list_models
from convgate.models.resnet_cifar import ResNetCifar
from convgate.models.selnext import SELNeXt

__all__ = [
    "ResNetCifar",
    "SELNeXt",
    "create_model",
    "from_authors",
    "library_of",
    "list_models",
    "load_checkpoint_file",
    "load_weights",
    "to_authors",
]
