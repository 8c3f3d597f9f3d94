"""The classifiers of SELNeXt's Table 7: MobileNetV3-Large, its attention removed or exchanged."""

import pytest
import torch

from convgate.insertion import list_sites, remove, replace
from convgate.models import create_model

NAMES = ("torchvision/mobilenet_v3_large", "mobilenetv3_large_100")

ROWS = [
    ("grn", {}, "3.9789"),
    ("eca", {"kernel_size": 3}, "3.9708"),
    ("seln", {"reduction": 4, "divisor": 8}, "5.4911"),
]


def build(name):
    with torch.device("meta"):
        return create_model(name)


def millions(net):
    return f"{sum(p.numel() for p in net.parameters()) / 1e6:.4f}"


@pytest.mark.parametrize("name", NAMES)
def test_with_and_without_its_attention(name):
    net = build(name)
    assert millions(net) == "5.4830"
    removed = remove(net, "se")
    assert len(removed.rows) == 8
    assert millions(net) == "3.9708"
    assert not [site for site in list_sites(net) if site.name == "se"]
    assert net.eval()(torch.empty(1, 3, 64, 64, device="meta")).shape == (1, 1000)


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize(("gate", "options", "expected"), ROWS)
def test_with_another_gate(name, gate, options, expected):
    net = build(name)
    with torch.device("meta"):
        report = replace(net, "se", gate, **options)
    assert [row.channels for row in report.rows] == [72, 120, 120, 480, 672, 672, 960, 960]
    assert millions(net) == expected
    assert net.eval()(torch.empty(1, 3, 64, 64, device="meta")).shape == (1, 1000)


@pytest.mark.parametrize("activation", ["tanh", "identity", "hard_sigmoid"])
def test_with_another_activation(activation):
    """Table 6: the same weights under another function; its own is the hard sigmoid."""
    net = build(NAMES[0])
    with torch.device("meta"):
        replace(net, "se", "se", reduction=4, divisor=8, activation=activation)
    assert millions(net) == "5.4830"
