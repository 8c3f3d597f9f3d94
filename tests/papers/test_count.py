"""The counters against hand counts of the rules they state."""

import pytest
import torch
from timm.layers.norm import LayerNorm2d
from torch import nn

from convgate.errors import InputError
from convgate.gates import create_gate
from convgate.models.hornet_block import GlobalLocalFilter
from convgate.papers.count import count_by
from convgate.tasks.detect.yolox_parts import Join

C, H, W = 16, 6, 4


def counted(module, counter="thop4", channels=C):
    return count_by(module.eval(), torch.empty(1, channels, H, W, device="meta"), counter)


def test_layers_have_their_multiply_adds_and_norms_their_rule():
    with torch.device("meta"):
        net = nn.Sequential(
            nn.Conv2d(C, 8, 3, padding=1, groups=2, bias=True),
            nn.BatchNorm2d(8),
            nn.GroupNorm(2, 8),
            nn.AvgPool2d(2),
            nn.AdaptiveAvgPool2d(1),
            nn.Flatten(),
            nn.Linear(8, 5),
        )
    conv, linear = 8 * H * W * 3 * 3 * C // 2, 8 * 5
    pools = 8 * (H // 2) * (W // 2) + 8 * ((H // 2) * (W // 2) + 1)
    params = 8 * 3 * 3 * C // 2 + 8 + 2 * 8 + 8 * 5 + 5
    for counter, norm in (("thop4", 4), ("thop2", 2)):
        found = counted(net, counter)
        assert found.flops == conv + linear + pools + norm * 8 * H * W
        assert (found.params, found.all_params) == (params, params + 2 * 8)  # the group norm
    assert counted(net, "macs").flops == conv + linear
    assert counted(net, "macs").params == params + 2 * 8


GATES = {
    # two linear layers; the published module averages with one pooling module
    "se": (2 * C * 1, C * H * W + C),
    "eca": (3 * C, C * H * W + C),  # log2(16) / 2 + 1/2 is 2.5: an odd kernel of 3
    # the group norm and the bare parameters are not seen; half the channels are pooled
    "sa": (0, (C * H * W + C) // 2),
    "sge": (0, C * H * W + C),
    "ean": (0, 0),
}


@pytest.mark.parametrize("gate", GATES)
def test_a_gate_costs_its_layers_and_the_pools_that_it_was_published_with(gate):
    options = {"sa": {"groups": 2}, "sge": {"groups": 4}}.get(gate, {})
    with torch.device("meta"):
        module = create_gate(gate, C, **options)
    layers, pools = GATES[gate]
    assert counted(module).flops == layers + pools
    assert counted(module, "thop4_means").flops == layers


def test_coordinate_attention_pools_rows_and_columns():
    with torch.device("meta"):
        gate = create_gate("ca", C, reduction=2)
    convs = (C * 8 + C * 8) * (H + W)
    pools = C * H * (W + 1) + C * W * (H + 1)
    assert counted(gate).flops == convs + 4 * 8 * (H + W) + pools
    assert counted(gate, "thop4_means").flops == convs + 4 * 8 * (H + W)


def test_ela_convolves_both_directions_and_its_norm_is_not_seen():
    with torch.device("meta"):
        gate = create_gate("ela_s", C)
    found = counted(gate)
    assert found.flops == 5 * 8 * C * (H + W)
    assert (found.params, found.all_params) == (5 * 8 * C, 5 * 8 * C + 2 * C)


def test_a_shared_module_has_its_parameters_once_and_runs_twice():
    with torch.device("meta"):
        conv = nn.Conv2d(C, C, 1, bias=False)
    found = counted(nn.Sequential(conv, conv))
    assert (found.params, found.flops) == (C * C, 2 * C * C * H * W)


def test_hornets_script_adds_its_norms_and_transforms():
    """Its rule takes channels times height for the pixels, ahead and back, on half of the maps."""
    with torch.device("meta"):
        net = nn.Sequential(GlobalLocalFilter(C, H), LayerNorm2d(C))
    plain, found = counted(net, "macs"), counted(net, "hornet")
    half = C // 2
    stages = 6  # log2(8 * 6) = 5.6
    assert found.flops - plain.flops == (half * H * W + half * H * (W // 2 + 1)) * stages
    assert found.params == plain.params
    with torch.device("meta"):
        norm = nn.LayerNorm(C)
    x = torch.empty(1, H, W, C, device="meta")
    assert count_by(norm, x, "hornet").flops == 5 * C * H * W
    assert count_by(norm, x, "macs").flops == 0


def test_mmcv_counts_biases_of_convolutions_norms_and_rectifiers():
    with torch.device("meta"):
        net = nn.Sequential(
            nn.Conv2d(C, 8, 3, padding=1, bias=True),
            nn.BatchNorm2d(8),
            nn.ReLU(),
            nn.GELU(),
            nn.ConvTranspose2d(8, 4, 2, 2),
            nn.MaxPool2d(2),
            nn.Flatten(2),
            nn.LayerNorm(H * W),
            nn.Linear(H * W, 5),
        )
    pixels = H * W
    conv, norm, rectifier = 8 * pixels * (9 * C + 1), 2 * 8 * pixels, 8 * pixels
    enlarged = 4 * 4 * pixels  # values: each pixel in gives 2 x 2 in each of 4 channels
    up, pool = 8 * pixels * 4 * 4 + enlarged, enlarged
    tail = 2 * 4 * pixels + 4 * pixels * 5  # a linear layer's bias is free there
    assert counted(net, "mmcv").flops == conv + norm + rectifier + up + pool + tail
    assert counted(net, "mmcv").params == sum(p.numel() for p in net.parameters())


def test_attention_outside_of_modules_is_not_seen_by_mmcv():
    class Product(nn.Module):
        def forward(self, x):
            return x @ x.transpose(2, 3)

    assert counted(Product(), "mmcv").flops == 0
    assert counted(Product(), "macs").flops == C * H * H * W


@pytest.mark.parametrize("counter", ["macs", "mmcv", "thop4"])
def test_a_frozen_batch_norm_has_no_parameters_and_other_frozen_layers_have(counter):
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(C, 8, 1), nn.BatchNorm2d(8), nn.BatchNorm2d(8))
    net[0].requires_grad_(False)
    net[1].requires_grad_(False)
    found = counted(net, counter)
    assert (found.params, found.all_params) == (C * 8 + 8 + 2 * 8,) * 2
    assert found.weights == 4 * found.all_params


def test_thop_sees_the_upsampling_of_yoloxs_neck():
    """Two of its four concatenations enlarge: to 2 C' values at twice the side."""
    with torch.device("meta"):
        join = Join(2 * C)

        class Neck(nn.Module):
            def __init__(self):
                super().__init__()
                self.joins = nn.ModuleList([join, Join(2 * C)])

            def forward(self, x):
                self.joins[0](x, x.new_empty(1, C, 2 * H, 2 * W))
                return self.joins[1](x, x)

        neck = Neck()
    assert counted(neck).flops == C * 2 * H * 2 * W
    assert counted(neck, "macs").flops == 0


def test_the_network_is_left_without_hooks():
    with torch.device("meta"):
        net = nn.Sequential(nn.Conv2d(C, C, 1)).train()
    count_by(net, torch.empty(1, C, H, W, device="meta"), "thop4")
    assert net.training
    assert not net[0]._forward_hooks


def test_an_unknown_counter_names_the_nearest():
    with pytest.raises(InputError, match="unknown counter 'thop5'; did you mean 'thop"):
        counted(nn.Identity(), "thop5")
