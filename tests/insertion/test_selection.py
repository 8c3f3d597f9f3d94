"""Sites by path pattern in networks of any kind, and by several names at once."""

import pytest
import torch
import torchvision
from torch import nn

from convgate.errors import InputError
from convgate.insertion import find_sites, insert, inserted, remove


class Plain(nn.Module):
    """A network of no known family: one ReLU runs twice, and one part works on (N, H, W, C)."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Sequential(nn.Conv2d(3, 8, 3, padding=1), nn.BatchNorm2d(8))
        self.relu = nn.ReLU()
        self.second = nn.Sequential(nn.Conv2d(8, 16, 3, padding=1), nn.GroupNorm(4, 16), nn.SiLU())
        self.mix = Mix()
        self.fc = nn.Linear(16, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.relu(self.first(x))
        x = self.mix(self.relu(self.second(x)))
        return self.fc(x.mean((2, 3)))


class Mix(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.up, self.act, self.down = nn.Linear(16, 24), nn.GELU(), nn.Linear(24, 16)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return x + self.down(self.act(self.up(x.movedim(1, 3)))).movedim(3, 1)


@pytest.fixture
def net() -> nn.Module:
    return Plain().eval()


def test_the_pattern_of_the_manual(backbone):
    net = backbone("resnet")
    sites = find_sites(net, "layer[34].*.bn2")
    assert [(s.path, s.stage, s.channels) for s in sites] == [
        ("layer3.0.bn2", 3, 48),
        ("layer4.0.bn2", 4, 96),
    ]
    report = insert(net, "se", at="layer[34].*.bn2", stages=[4])
    assert [row.path for row in report.rows] == ["layer4.0.bn2"]
    assert report.rows[0].site == "layer[34].*.bn2"
    assert len(remove(net, "layer[34].*.bn2").rows) == 1


@pytest.mark.parametrize(
    ("pattern", "host", "channels", "layout"),
    [
        ("first", "first.1", 8, "NCHW"),
        ("second", "second.2", 16, "NCHW"),
        ("second.0", "second.0", 16, "NCHW"),
        ("mix.up", "mix.up", 24, "NHWC"),
    ],
)
def test_what_the_parts_say_is_what_runs(pattern, host, channels, layout, net):
    for x in (None, torch.randn(1, 3, 12, 12)):
        (site,) = find_sites(net, pattern, example_input=x)
        assert (site.path, site.channels, site.layout) == (host, channels, layout)


@pytest.mark.parametrize(
    ("path", "channels", "layout"), [("mix", 16, "NCHW"), ("mix.act", 24, "NHWC")]
)
def test_the_trace_tells_what_the_parts_do_not(path, channels, layout, net):
    (site,) = find_sites(net, path)
    assert (site.path, site.channels, site.layout) == (path, channels, layout)
    (site,) = find_sites(net, path, example_input=torch.randn(2, 3, 12, 12))
    assert (site.channels, site.layout, site.shape) == (channels, layout, (1, channels, 12, 12))


def test_a_network_that_does_not_run_asks_for_an_example():
    class Two(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.conv = nn.Conv2d(3, 8, 3)

        def forward(self, x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
            return self.conv(x) + y

    with pytest.raises(InputError, match=r"Two cannot be traced \(.*'y'\); give example_input"):
        find_sites(Two(), "conv")


@pytest.mark.parametrize(
    ("pattern", "size", "sentence"),
    [
        ("relu", 12, "relu runs 2 times"),
        ("fc", 12, r"fc gives \(1, 5\) and a gate needs"),
        ("fc:input", 12, r"fc takes \(1, 16\) and a gate needs"),
        ("mixx*", 12, "nearest path is 'mix'"),
    ],
)
def test_what_cannot_carry_a_gate(pattern, size, sentence, net):
    with pytest.raises(InputError, match=sentence):
        find_sites(net, pattern, example_input=torch.randn(1, 3, size, size))


def test_the_input_of_a_module(net):
    """Where GCT's authors have it: before the convolution."""
    (site,) = find_sites(net, "second.0:input")
    assert (site.path, site.where, site.channels) == ("second.0", "input", 8)
    (site,) = find_sites(net, "second:input")
    assert (site.path, site.where) == ("second.0", "input")
    x = torch.randn(2, 3, 12, 12)
    before = net(x)
    insert(net, "gct", at="second:input", start="paper")
    seen: list[torch.Tensor] = []
    net.second[0].input_gate.register_forward_pre_hook(lambda _m, args: seen.append(args[0]))
    assert torch.equal(net(x), before)  # GCT starts as the identity by itself
    assert seen[0].shape == (2, 8, 12, 12)


def test_a_pattern_meets_one_module_once(net):
    assert [site.path for site in find_sites(net, "first*")] == ["first.1", "first.0"]


@pytest.mark.parametrize("path", ["features.denseblock1", "layers"])
def test_containers_refuse(path, backbone):
    net = backbone("densenet")
    net.layers = nn.ModuleList([nn.Conv2d(3, 3, 1)])
    with pytest.raises(InputError, match="runs its children one by one"):
        find_sites(net, path)


def test_a_module_that_runs_its_children_refuses():
    """timm's RegNet stage is no Sequential, and runs all its children."""
    import timm

    with pytest.raises(InputError, match="s1 is a RegStage"):
        find_sites(timm.create_model("regnety_002"), "s1")


def test_sites_in_any_network_start_as_the_identity(net):
    x = torch.randn(2, 3, 12, 12)
    before = net(x)
    for at in ("first", "second", "mix.up", "mix"):
        insert(net, "se", at=at, example_input=x, reduction=4)
    assert len(list(inserted(net))) == 4
    assert torch.equal(net(x), before)


@pytest.fixture(scope="module")
def resnet18():
    return torchvision.models.resnet18()


def test_several_sites_at_once(resnet18):
    found = [(site.name, site.path) for site in find_sites(resnet18, "stem_end, stage_end")]
    ends = [("stage_end", f"layer{i}.1") for i in (1, 2, 3, 4)]
    assert found == [("stem_end", "relu"), *ends]


def test_stages_choose_among_all_of_them(resnet18):
    found = find_sites(resnet18, "stem_end,stage_end", stages=(0, 2))
    assert [(site.name, site.path) for site in found] == [
        ("stem_end", "relu"),
        ("stage_end", "layer2.1"),
    ]


def test_a_place_named_twice_or_unknown_is_refused(resnet18):
    with pytest.raises(InputError, match=r"names the output of layer1\.1 twice"):
        find_sites(resnet18, "stage_end,layer1.?")
    with pytest.raises(InputError, match="did you mean 'stage_end'"):
        find_sites(resnet18, "stem_end,stage_and")
