"""Parameters and operations of every family against what the papers and repositories report."""

import pytest
import timm
import torch
from torch import nn

import convgate.models  # noqa: F401  registers the names in timm


def build(name, **options):
    with torch.device("meta"):
        return timm.create_model(name, **options)


def parameters(name, **options):
    return sum(parameter.numel() for parameter in build(name, **options).parameters())


def resnext29(groups, base, classes=10):
    """Count by hand: three 1x1, 3x3, 1x1 blocks a stage with norms, a 1x1 shortcut in the first."""
    total, wide = 3 * 64 * 9 + 2 * 64, 64
    for stage in range(3):
        inner, outer = groups * base * 2**stage, 256 * 2**stage
        for block in range(3):
            total += wide * inner + inner * inner // groups * 9 + inner * outer
            total += 2 * (2 * inner + outer)
            total += 0 if block else wide * outer + 2 * outer
            wide = outer
    return total + wide * classes + classes


def wide_resnet(layers, widen, classes):
    """Count by hand: a stem, blocks of two 3x3 convolutions with a norm before each, no bias."""
    total, wide = 3 * 16 * 9, 16
    for width in (16 * widen, 32 * widen, 64 * widen):
        for block in range((layers - 4) // 6):
            total += 2 * wide + wide * width * 9 + 2 * width + width * width * 9
            total += 0 if block else (wide != width) * wide * width
            wide = width
    return total + 2 * wide + wide * classes + classes


WRNS = ("40_1", "40_2", "40_4", "40_8", "28_10", "28_12", "22_8", "22_10", "16_8", "16_10")


def test_the_hand_count_is_that_of_another_code():
    assert wide_resnet(28, 10, 100) == 36_536_884  # xternalz/WideResNet-pytorch
    assert resnext29(8, 64, 100) == 34_518_948  # bearpaw/pytorch-classification


@pytest.mark.parametrize("form", WRNS)
def test_parameters_of_wide_networks(form):
    layers, widen = map(int, form.split("_"))
    counted = parameters(f"wrn{form}", num_classes=10, form="paper")
    assert counted == wide_resnet(layers, widen, 10)


@pytest.mark.parametrize(
    ("name", "classes", "expected"),
    [
        ("hornet_tiny", 1000, 22_409_512),
        ("hornet_tiny_gf", 1000, 22_991_848),
        ("mobilenext", 1000, 3_535_416),
        ("wrn28_10", 100, 36_546_980),
        ("resnext29_16x64d", 10, resnext29(16, 64)),
        ("resnext29_8x64d", 100, 34_518_948),
    ],
)
def test_parameters_exactly(name, classes, expected):
    assert parameters(name, num_classes=classes) == expected


@pytest.mark.parametrize(
    ("name", "classes", "millions"),
    [
        ("mobilenext_cifar", 100, "2.3825"),
        ("resnet50_cifar", 100, "23.7053"),
        ("resnet101_cifar", 100, "42.6974"),
        ("wrn28_10", 100, "36.5470"),
        ("resnext29_16x32d", 10, "25.1370"),
        ("resnext29_16x32d", 100, "25.2292"),
        ("resnext29_8x64d", 10, "34.4267"),
        ("shufflenet_v2_cifar", 100, "1.3609"),
        ("densenet121_cifar", 100, "7.0485"),
        ("hornet_small", 1000, "50"),
        ("hornet_small_gf", 1000, "50"),
        ("hornet_base", 1000, "87"),
        ("hornet_base_gf", 1000, "88"),
    ],
)
def test_parameters_as_printed(name, classes, millions):
    digits = len(millions.partition(".")[2])
    assert f"{parameters(name, num_classes=classes) / 1e6:.{digits}f}" == millions


def operations(model, size, per_norm, pooled):
    """Multiply-adds of convolutions and linear layers, some operations per element of each norm.

    Pooling modules add one operation for each output, adaptive ones also one for each input.
    """
    total = 0

    def count(module, args, output):
        nonlocal total
        if isinstance(module, nn.Conv2d):
            total += output.numel() * module.weight[0].numel()
        elif isinstance(module, nn.Linear):
            total += output.numel() * module.in_features
        elif isinstance(module, nn.BatchNorm2d):
            total += per_norm * output.numel()
        elif isinstance(module, nn.AvgPool2d):
            total += output.numel()
        elif isinstance(module, nn.AdaptiveAvgPool2d) and pooled:
            total += args[0].numel() + output.numel()

    for module in model.modules():
        module.register_forward_hook(count)
    model.eval()(torch.empty(1, 3, size, size, device="meta"))
    return total


@pytest.mark.parametrize(
    ("name", "classes", "per_norm", "pooled", "millions"),
    [
        # the tables of EAN: 4 per element of a norm for light networks, 2 for the others
        ("mobilenext", 1000, 4, True, "343.660"),
        ("mobilenext_cifar", 100, 4, True, "7.117"),
        ("shufflenet_v2_cifar", 100, 4, False, "45.754"),  # its published code pools in a function
        ("densenet121_cifar", 100, 2, True, "898.225"),
        ("resnet50_cifar", 100, 2, True, "1304.9"),
        ("resnet101_cifar", 100, 2, True, "2520.4"),
        ("wrn28_10", 100, 2, True, "5956.6"),
        ("resnext29_16x32d", 10, 2, True, "4045.5"),
        # Table 2 of SELNeXt, multiply-adds alone; transforms are in no count
        ("hornet_tiny", 1000, 0, False, "3968"),
        ("hornet_tiny_gf", 1000, 0, False, "3889"),
        ("hornet_small", 1000, 0, False, "8814"),
        ("hornet_small_gf", 1000, 0, False, "8694"),
        ("hornet_base", 1000, 0, False, "15567"),
    ],
)
def test_operations_as_printed(name, classes, per_norm, pooled, millions):
    model = build(name, num_classes=classes)
    size = model.default_cfg["input_size"][-1]
    digits = len(millions.partition(".")[2])
    counted = operations(model, size, per_norm, pooled) / 1e6
    assert f"{counted:.{digits}f}" == millions
