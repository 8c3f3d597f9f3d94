"""Counts of whole nets, against hand sums and the numbers that are known of published nets."""

import pytest
import torch
import torchvision
from torch import nn

from convgate.measure import count


def cost(model, *shape):
    return count(model, torch.randn(shape))


def test_parameters_and_buffers_are_apart():
    net = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    net[0].requires_grad_(False)
    found = cost(net, 1, 3, 2, 2)
    assert (found.params, found.trainable_params) == (16 + 8, 8)
    assert found.buffers == 4 + 4 + 1  # mean, variance and the number of batches


def test_shared_parameters_count_once_and_their_work_twice():
    layer = nn.Linear(4, 4, bias=False)
    found = cost(nn.Sequential(layer, layer), 1, 4)
    assert (found.params, found.macs) == (16, 32)


def test_model_is_left_as_it_was():
    net = nn.Sequential(nn.BatchNorm2d(3), nn.Dropout())
    net[1].eval()
    mean = net[0].running_mean.clone()
    cost(net, 4, 3, 5, 5)
    assert (net.training, net[0].training, net[1].training) == (True, True, False)
    assert torch.equal(net[0].running_mean, mean)


def test_meta_device_gives_the_counts_of_a_real_run():
    def net():
        return torchvision.models.mobilenet_v3_small(num_classes=10)

    with torch.device("meta"):
        promised = count(net(), torch.randn(1, 3, 32, 32))
    assert promised == count(net(), torch.randn(1, 3, 32, 32))


def test_inference_tensors_count_the_same():
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    with torch.inference_mode():
        x = torch.randn(1, 3, 8, 8)
    assert count(net, x) == cost(net, 1, 3, 8, 8)


def test_something_else_than_a_tensor_is_refused():
    with pytest.raises(TypeError, match="example_input is a list"):
        count(nn.ReLU(), [1.0])


def conv_macs(px, channels, out, kernel, groups=1):
    return px * px * out * kernel * kernel * channels // groups


def test_resnet50_is_the_sum_over_its_convolutions():
    # He et al. 2016, Table 1: the bottlenecks of ResNet-50 with the stride on the 3x3 layer.
    total, channels = conv_macs(112, 3, 64, 7), 64
    for blocks, width, px in ((3, 64, 56), (4, 128, 28), (6, 256, 14), (3, 512, 7)):
        for block in range(blocks):
            before = px * 2 if block == 0 and width > 64 else px
            total += conv_macs(before, channels, width, 1) + conv_macs(px, width, width, 3)
            total += conv_macs(px, width, 4 * width, 1)
            if block == 0:
                total += conv_macs(px, channels, 4 * width, 1)
            channels = 4 * width
    total += 2048 * 1000
    with torch.device("meta"):
        found = count(torchvision.models.resnet50(), torch.randn(1, 3, 224, 224))
    assert found.macs == total
    assert round(found.macs / 1e9, 3) == 4.089
    assert found.params == 25_557_032
    assert found.uncounted == ()


@pytest.mark.parametrize(
    ("name", "params_m", "macs_g"),
    [  # plain multiply-adds of convolutions and products, as torchvision's nets are known for
        ("mobilenet_v3_large", 5.4830, 0.2166),
        ("convnext_tiny", 28.5891, 4.456),
        ("swin_t", 28.2884, 4.491),
    ],
)
def test_published_nets(name, params_m, macs_g):
    with torch.device("meta"):
        model = getattr(torchvision.models, name)()
        found = count(model, torch.randn(1, 3, 224, 224))
    assert round(found.params / 1e6, 4) == params_m
    assert found.macs / 1e9 == pytest.approx(macs_g, abs=0.00051)
    assert found.uncounted == ()
