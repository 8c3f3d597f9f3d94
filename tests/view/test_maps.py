"""The maps that are found in every family, against what its architecture says."""

import pytest
import torch
from torch import nn

from convgate.errors import InputError
from convgate.insertion import insert
from convgate.models import create_model
from convgate.view.maps import last_maps, named_maps, trace_maps

FOUR_STAGES = {  # at 4, 8, 16 and 32 pixels to a position, with the widths of the papers
    "resnet18": ("layer1 layer2 layer3 layer4", (64, 128, 256, 512)),
    "torchvision/resnet18": ("layer1 layer2 layer3 layer4", (64, 128, 256, 512)),
    "convnext_atto": ("stages.0 stages.1 stages.2 norm_pre", (40, 80, 160, 320)),
    "convnextv2_atto": ("stages.0 stages.1 stages.2 norm_pre", (40, 80, 160, 320)),
    "torchvision/convnext_tiny": ("features.1 features.3 features.5 features", (96, 192, 384, 768)),
    "hornet_tiny": ("stages.0 stages.1 stages.2 stages", (64, 128, 256, 512)),
    "edgenext_xx_small": ("stages.0 stages.1 stages.2 norm_pre", (24, 48, 88, 168)),
    "regnetx_002": ("s1 s2 s3 final_conv", (24, 56, 152, 368)),
    "torchvision/swin_t": ("features.1 features.3 features.5 permute", (96, 192, 384, 768)),
    "mobilenetv2_050": ("blocks.1 blocks.2 blocks.4 bn2", (16, 16, 48, 1280)),
    "torchvision/mobilenet_v2": (
        "features.3 features.6 features.13 features",
        (24, 32, 96, 1280),
    ),
    "torchvision/mobilenet_v3_small": (
        "features.1 features.3 features.8 features",
        (16, 24, 48, 576),
    ),
    "efficientnet_b0": ("blocks.1 blocks.2 blocks.4 bn2", (24, 40, 112, 1280)),
    "torchvision/densenet121": (
        "features.denseblock1 features.denseblock2 features.denseblock3 features",
        (256, 512, 1024, 1024),
    ),
    "torchvision/shufflenet_v2_x0_5": ("maxpool stage2 stage3 conv5", (24, 48, 96, 1024)),
    "mobilevit_xs": ("stages.1 stages.2 stages.3 final_conv", (48, 64, 80, 384)),
    "mobilenext": ("stages.1 stages.2 stages.4 stages", (144, 192, 384, 1280)),
}


@pytest.mark.parametrize("name", FOUR_STAGES)
def test_the_last_four_resolutions_end_with_the_stages(name):
    model = create_model(name).eval()
    found = last_maps(model, torch.zeros(1, 3, 64, 64), 4)
    paths, widths = FOUR_STAGES[name]
    assert " ".join(m.path for m in found) == paths
    assert tuple(m.channels for m in found) == widths
    reached = [64 // m.height for m in found]
    first = reached[0]
    assert reached == [first, 2 * first, 4 * first, 8 * first] and reached[-1] in (16, 32)


@pytest.mark.parametrize(
    ("name", "paths", "widths"),
    [
        ("resnet20", "layer1 layer2 layer3", (16, 32, 64)),
        ("wrn28_10", "layer1 layer2 act", (160, 320, 640)),
        ("resnext29_8x64d", "layer1 layer2 layer4", (256, 512, 1024)),
        ("selnext_atto", "stages.1 stages.2 stages", (32, 64, 128)),
        ("shufflenet_v2_cifar", "stage2 stage3 conv5", (116, 232, 1024)),
    ],
)
def test_the_forms_for_small_pictures(name, paths, widths):
    found = last_maps(create_model(name).eval(), torch.zeros(1, 3, 32, 32), 3)
    assert (" ".join(m.path for m in found), tuple(m.channels for m in found)) == (paths, widths)


def test_swin_s_maps_have_their_channels_last():
    model = create_model("swin_tiny_patch4_window7_224", img_size=64, window_size=2).eval()
    found = last_maps(model, torch.zeros(1, 3, 64, 64), 4)
    assert [m.path for m in found] == ["layers.0", "layers.1", "layers.2", "norm"]
    assert [m.channels for m in found] == [96, 192, 384, 768]
    assert [(m.height, m.layout) for m in found] == [(side, "NHWC") for side in (16, 8, 4, 2)]


def test_attention_between_channels_is_no_map():
    """EdgeNeXt's is 12 x 12 for 4 heads, whatever the picture's size."""
    found = last_maps(create_model("edgenext_xx_small").eval(), torch.zeros(1, 3, 128, 128))
    assert [m.height for m in found] == [32, 16, 8, 4]


def test_a_gate_changes_nothing_in_what_is_found():
    x = torch.zeros(1, 3, 32, 32)
    for gate in ("cbam", "eca", "ela"):
        model = create_model("resnet20").eval()
        before = last_maps(model, x)
        insert(model, gate)
        assert last_maps(model, x) == before


def test_a_module_that_runs_twice_has_no_single_map():
    model = nn.Sequential(nn.Conv2d(3, 4, 3), act := nn.ReLU(), nn.Conv2d(4, 5, 3), act)
    assert [m.path for m in trace_maps(model, torch.zeros(1, 3, 8, 8))] == ["0", "2"]


def test_named_layers_and_patterns_come_in_the_network_s_order():
    model, x = create_model("resnet20").eval(), torch.zeros(1, 3, 32, 32)
    found = named_maps(model, x, ["layer3", "layer1.?"])
    assert [m.path for m in found] == ["layer1.0", "layer1.1", "layer1.2", "layer3"]
    with pytest.raises(InputError, match="unknown layer 'layer9'; did you mean 'layer"):
        named_maps(model, x, ["layer9"])


@pytest.mark.parametrize("count", [0, 4, -1])
def test_a_number_of_maps_that_is_not_there(count):
    with pytest.raises(InputError, match=r"3 sizes \(32, 16, 8 high\).*--layers 1 to 3"):
        last_maps(create_model("resnet20").eval(), torch.zeros(1, 3, 32, 32), count)


def test_a_network_without_a_convolution_to_look_at():
    with pytest.raises(InputError, match="no convolution to look at: it gives no map"):
        trace_maps(nn.Sequential(nn.Flatten(), nn.Linear(192, 3)), torch.zeros(1, 3, 8, 8))
    model = create_model("vit_tiny_patch16_224", img_size=64, depth=1).eval()
    with pytest.raises(InputError, match="its last features are tokens"):
        trace_maps(model, torch.zeros(1, 3, 64, 64))


def test_the_network_is_left_as_it_was():
    model = create_model("resnet20")
    trace_maps(model, torch.zeros(1, 3, 32, 32))
    assert model.training and not any(m._forward_hooks for m in model.modules())
