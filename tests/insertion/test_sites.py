"""The tables of sites, against hand counts of the architectures and against what really runs."""

from collections import Counter

import pytest
import timm
import torch
import torchvision
from torch import nn

import convgate.models  # noqa: F401  registers its networks in timm
from convgate.insertion import SITES, find_sites, list_sites


def build(name: str) -> nn.Module:
    with torch.device("meta"):
        if name.startswith("torchvision/"):
            return getattr(torchvision.models, name.removeprefix("torchvision/"))()
        return timm.create_model(name)


def widths(name: str, site: str) -> list[int]:
    return [found.channels for found in list_sites(build(name)) if found.name == site]


@pytest.mark.parametrize("name", ["resnet50", "torchvision/resnet50"])
def test_resnet50(name):
    assert widths(name, "stem_end") == [64]
    assert Counter(widths(name, "block_end")) == {256: 3, 512: 4, 1024: 6, 2048: 3}
    assert Counter(widths(name, "spatial")) == {64: 3, 128: 4, 256: 6, 512: 3}  # sum 3776
    assert widths(name, "spatial_raw") == widths(name, "spatial")
    assert widths(name, "stage_end") == [256, 512, 1024, 2048]
    assert not widths(name, "se") + widths(name, "expanded") + widths(name, "hidden")


@pytest.mark.parametrize(
    ("name", "spatial"),
    [
        ("torchvision/resnet18", {64: 2, 128: 2, 256: 2, 512: 2}),
        ("torchvision/resnext50_32x4d", {128: 3, 256: 4, 512: 6, 1024: 3}),
        ("wide_resnet50_2", {128: 3, 256: 4, 512: 6, 1024: 3}),
        ("resnet8", {16: 1, 32: 1, 64: 1}),
    ],
)
def test_other_resnets(name, spatial):
    assert Counter(widths(name, "spatial")) == spatial


@pytest.mark.parametrize("name", ["mobilenetv2_100", "torchvision/mobilenet_v2"])
def test_mobilenet_v2(name):
    """The rows of the architecture: expansion t, width c, repeats n."""
    rows = [(1, 16, 1), (6, 24, 2), (6, 32, 3), (6, 64, 4), (6, 96, 3), (6, 160, 3), (6, 320, 1)]
    widths_in = [32, *(c for _, c, n in rows for _ in range(n))]
    expansions = [t for t, _, n in rows for _ in range(n)]
    hidden = [t * c for t, c in zip(expansions, widths_in, strict=False)]
    assert widths(name, "spatial") == hidden
    assert widths(name, "expanded") == hidden[1:]
    assert sum(hidden[1:]) == 7104
    assert widths(name, "block_end") == widths_in[1:]
    stages = [s.stage for s in list_sites(build(name)) if s.name == "block_end"]
    sizes = [1, 2, 3, 4, 4, 5, 5]  # 112, 56, 28, 14 and 7 px: a stage each
    assert stages == [size for size, (_, _, n) in zip(sizes, rows, strict=True) for _ in range(n)]
    assert widths(name, "stage_end") == [16, 24, 32, 96, 320]
    assert widths(name, "stem_end") == [32]
    assert widths(name, "se") == []


@pytest.mark.parametrize("name", ["mobilenetv3_large_100", "torchvision/mobilenet_v3_large"])
def test_mobilenet_v3_large(name):
    assert widths(name, "se") == [72, 120, 120, 480, 672, 672, 960, 960]
    expanded = [64, 72, 72, 120, 120, 240, 200, 184, 184, 480, 672, 672, 960, 960]
    assert widths(name, "expanded") == expanded
    assert widths(name, "spatial") == [16, *expanded]
    assert widths(name, "stage_end") == [16, 24, 40, 112, 160]


@pytest.mark.parametrize("name", ["efficientnet_b0", "torchvision/efficientnet_b0"])
def test_efficientnet_b0(name):
    rows = [(16, 1), (24, 2), (40, 2), (80, 3), (112, 3), (192, 4), (320, 1)]
    assert widths(name, "stage_end") == [16, 24, 40, 112, 320]
    assert widths(name, "block_end") == [c for c, n in rows for _ in range(n)]
    assert len(widths(name, "se")) == 16
    assert len(widths(name, "expanded")) == 15


@pytest.mark.parametrize("name", ["densenet121", "torchvision/densenet121"])
def test_densenet121(name):
    assert widths(name, "spatial") == widths(name, "block_end") == [32] * (6 + 12 + 24 + 16)
    assert widths(name, "stage_end") == [256, 512, 1024, 1024]  # before each transition, and last
    assert widths(name, "stem_end") == [64]


def test_shufflenet_v2():
    name = "torchvision/shufflenet_v2_x1_0"
    assert widths(name, "stage_end") == [116, 232, 464]
    assert Counter(widths(name, "block_end")) == {58: 4, 116: 8, 232: 4}
    assert not widths(name, "expanded") + widths(name, "se")


@pytest.mark.parametrize("name", ["regnety_004", "torchvision/regnet_y_400mf"])
def test_regnet_y_400mf(name):
    theirs = name.startswith("torchvision")
    # torchvision's builder computes with data.
    model = torchvision.models.regnet_y_400mf() if theirs else build(name)
    found = Counter((s.name, s.channels) for s in list_sites(model))
    per_stage = {48: 1, 104: 3, 208: 6, 440: 6}
    for site in ("spatial_raw", "spatial", "se", "block_end"):
        assert {c: n for (kind, c), n in found.items() if kind == site} == per_stage
    assert not any(kind in ("expanded", "hidden") for kind, _ in found)  # 48 to 104 is no expansion


@pytest.mark.parametrize(
    "name", ["convnext_tiny", "convnextv2_tiny", "torchvision/convnext_tiny", "selnext_tiny"]
)
def test_convnext_tiny(name):
    blocks = {96: 3, 192: 3, 384: 9, 768: 3}
    assert Counter(widths(name, "hidden")) == {4 * c: n for c, n in blocks.items()}
    assert Counter(widths(name, "block_end")) == blocks
    assert Counter(widths(name, "spatial_raw")) == blocks
    assert widths(name, "stage_end") == list(blocks)
    assert widths(name, "stem_end") == [96]


@pytest.mark.parametrize("name", ["mobilenext", "mobilenext_cifar"])
def test_mobilenext(name):
    """20 blocks; two change the width alone, and three others have one depthwise convolution."""
    outputs = [96, 144, *[192] * 3, *[288] * 3, *[384] * 3, *[576] * 4, *[960] * 2, 1280]
    assert widths(name, "block_end") == outputs
    assert (len(outputs), sum(outputs)) == (18, 8336)
    first = [32, 96, *[192] * 3, *[288] * 3, *[384] * 3, *[576] * 4, *[960] * 2, 960]
    assert widths(name, "spatial") == widths(name, "spatial_raw") == first
    assert widths(name, "stage_end") == [144, 192, 384, 1280]
    assert widths(name, "stem_end") == [32]
    # In the 15 blocks with both, by pattern: after the first, and after the last.
    patterns = [find_sites(build(name), at) for at in ("*.act1", "*.bn4")]
    assert [len(sites) for sites in patterns] == [15, 15]
    assert sum(site.channels for site in patterns[1]) == 8336 - 192 - 288 - 576


@pytest.mark.parametrize("name", ["hornet_tiny", "hornet_tiny_gf"])
def test_hornet_tiny(name):
    blocks = {64: 2, 128: 3, 256: 18, 512: 2}
    assert Counter(widths(name, "hidden")) == {4 * c: n for c, n in blocks.items()}
    assert Counter(widths(name, "block_end")) == Counter(widths(name, "spatial")) == blocks
    # The recursive gated convolution as a whole, before the projection after it.
    assert Counter(widths(name, "spatial_raw")) == Counter(widths(name, "mixer_end")) == blocks
    assert widths(name, "stage_end") == list(blocks)
    assert widths(name, "stem_end") == [64]


def test_wrn28_10():
    assert widths("wrn28_10", "block_end") == [160] * 4 + [320] * 4 + [640] * 4
    assert widths("wrn28_10", "spatial") == widths("wrn28_10", "block_end")
    assert widths("wrn28_10", "stem_end") == [16]


def test_forms_for_cifar_have_the_sites_of_their_families():
    assert Counter(widths("resnet50_cifar", "block_end")) == {256: 3, 512: 4, 1024: 6, 2048: 3}
    assert Counter(widths("resnext29_16x32d", "block_end")) == {256: 3, 512: 3, 1024: 3}
    assert len(widths("densenet121_cifar", "spatial")) == 58
    assert widths("shufflenet_v2_cifar", "stage_end") == [116, 232, 464]
    for name in ("resnet50_cifar", "resnext29_16x32d", "densenet121_cifar"):
        assert widths(name, "stem_end") == [64]


@pytest.mark.parametrize(
    "name",
    [
        "test_resnet",
        "test_efficientnet",
        "test_convnext",
        "seresnet18",
        "regnety_002",
        "mobilenetv3_small_050",
        "legacy_seresnet18",
        "convnext_atto_ols",
        "selnext_atto",
        "resnet20",
        "hornet_tiny_gf",
        "mobilenext",
        "wrn28_10",
        "resnext29_8x64d",
        "shufflenet_v2_cifar",
        "densenet121_cifar",
        "torchvision/mobilenet_v3_small",
        "torchvision/shufflenet_v2_x0_5",
        "torchvision/efficientnet_v2_s",
        "torchvision/convnext_tiny",
        "torchvision/densenet121",
    ],
)
def test_channels_and_axes_are_those_of_the_tensors(name):
    model = build(name)
    sites = list_sites(model, torch.empty(1, 3, 64, 64, device="meta"))
    assert {site.stage for site in sites if site.name == "stage_end"} == set(
        range(1, max(site.stage for site in sites) + 1)
    )
    for site in sites:
        assert site.name in SITES
        assert site.shape is not None, site
        assert site.shape[1] == site.channels, site
        assert site.shape[2] == site.shape[3], site


def test_a_gate_is_no_part_of_the_network(backbone):
    from convgate.insertion import insert

    net = backbone("mobilenet_v2")
    before = list_sites(net)
    insert(net, "cbam", at="spatial")
    assert list_sites(net) == before


def test_the_backbone_inside_another_network_has_its_sites():
    net = nn.Module()
    net.body = build("torchvision/resnet18")
    paths = [site.path for site in list_sites(net) if site.name in ("stem_end", "stage_end")]
    assert paths == ["body.relu", *(f"body.layer{i}.1" for i in (1, 2, 3, 4))]


def test_a_network_without_blocks_has_no_sites():
    assert list_sites(nn.Sequential(nn.Conv2d(3, 8, 1), nn.ReLU())) == []
