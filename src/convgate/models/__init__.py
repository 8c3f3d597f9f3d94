"""Networks that timm and torchvision lack, registered in timm, and all of theirs by name."""

from convgate.models.checkpoint import from_authors, load_checkpoint_file, load_weights
from convgate.models.create import create_model, library_of, list_models
from convgate.models.hornet import HorNet
from convgate.models.mobilenext import MobileNeXt
from convgate.models.resnet_cifar import ResNetCifar
from convgate.models.selnext import SELNeXt
from convgate.models.shufflenet_cifar import ShuffleNetCifar
from convgate.models.wide_resnet import WideResNet

__all__ = [
    "HorNet", "MobileNeXt", "ResNetCifar", "SELNeXt", "ShuffleNetCifar", "WideResNet",
    "create_model", "from_authors", "library_of", "list_models", "load_checkpoint_file",
    "load_weights",
]  # fmt: skip
