"""Networks as people write them: sites without a name that anybody could foresee.

Counts are by hand, from the forward that stands there.
"""

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convgate.errors import InputError
from convgate.insertion import insert, inserted, list_sites, remove
from fixtures.own_networks import (
    Attentive,
    Functional,
    InPlace,
    Looped,
    ManyMaps,
    Parts,
    Plain,
    PreActivation,
    Remembers,
    Returned,
    Shared,
    Tokens,
    TwoInputs,
    conv,
)

# What a functional activation or a sum gives to several others is no module's input or output.
SERVED = [
    (Functional, 2, {"spatial_raw": 2, "spatial": 2, "stem_end": 0, "stage_end": 0}),
    (Looped, 5, {"spatial_raw": 5, "spatial": 5}),
    (InPlace, 2, {"spatial_raw": 2, "spatial": 2}),
    (PreActivation, 2, {"spatial_raw": 2}),
    (Plain, 3, {"spatial_raw": 3}),
    (ManyMaps, 2, {"stage_end": 1}),
    (Tokens, 2, {"hidden": 2}),
    (Attentive, 2, {"se": 2}),
    (Parts, 2, {}),
    (Returned, 2, {"spatial_raw": 2}),
]


@pytest.mark.parametrize(("kind", "blocks", "others"), SERVED)
def test_sites_are_those_of_the_forward(kind, blocks, others):
    names = [site.name for site in list_sites(kind())]
    assert names.count("block_end") == blocks
    assert {name: names.count(name) for name in others} == others


@pytest.mark.parametrize("kind", [kind for kind, _, _ in SERVED])
def test_every_site_is_gated_without_a_change(kind):
    torch.manual_seed(0)
    net, x = kind().eval(), torch.randn(2, 3, 224, 224)
    before, keys = _flat(net(x)), list(net.state_dict())
    sites = [site for site in list_sites(net) if site.name != "se"]
    for name in dict.fromkeys(site.name for site in sites):
        insert(net, "se", at=name, reduction=2)
        assert all(map(torch.equal, _flat(net(x)), before)), name
        assert [key for key in net.state_dict() if key in keys] == keys
        sum(y.sum() for y in _flat(net(x))).backward()
        assert all(_learns(gate) for _, gate, _ in inserted(net)), name
        remove(net)
        assert list(net.state_dict()) == keys


def test_maps_in_rows_are_gated_as_maps():
    """A gate on (N, H W, C) does what the same gate does on (N, C, H, W)."""
    net, x = Tokens().eval(), torch.randn(2, 3, 224, 224)
    insert(net, "ca", at="hidden", start="paper", reduction=4)
    seen: list[tuple[Tensor, Tensor]] = []
    _, gate, _ = next(inserted(net))
    gate.register_forward_hook(lambda _gate, args, out: seen.append((args[0], out)))
    net(x)
    rows = net.norms[0](_rows(net.patch(x) + net.mixers[0](net.patch(x))))
    hidden = F.gelu(net.up[0](rows))
    torch.testing.assert_close(seen[0][0], hidden.transpose(1, 2).reshape(2, 48, 56, 56))
    with pytest.raises(InputError, match=r"for maps of 56 x 56 and meets 1024 tokens"):
        net(torch.randn(1, 3, 128, 128))


@pytest.mark.parametrize(
    ("net", "sentence"),
    [
        (Shared(), "Shared has no site 'block_end'; it has stem_end"),
        (TwoInputs(), "TwoInputs cannot be traced .* give example_input"),
        (nn.Sequential(nn.Flatten(), nn.Linear(12, 5)), "Sequential cannot be traced"),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_cannot_be_served_is_told_in_one_sentence(net, sentence):
    with pytest.raises(InputError, match=sentence):
        insert(net, "se")


def test_some_of_the_blocks_are_not_taken_for_all():
    class Half(Shared):
        def __init__(self) -> None:
            super().__init__()
            self.once = nn.Sequential(conv(8, 8), nn.ReLU(), conv(8, 8))

        def forward(self, x: Tensor) -> Tensor:
            x = self.stem(x)
            x = x + self.once(x)
            x = x + self.f(x)
            return (x + self.f(x)).mean((2, 3))

    net = Half()
    lacks = r"in 1 of the 3 blocks of Half; of the others, 2 run more than once \(f.2 first\); give"
    with pytest.raises(InputError, match=lacks):
        insert(net, "se", reduction=2)
    assert insert(net, "se", stages=1, reduction=2).rows[0].path == "once.2"


def _flat(output: object) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


def _learns(gate: nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.any()) for p in gate.parameters())


def _rows(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)


def test_a_trace_leaves_nothing_behind():
    net = Remembers().eval()
    net(torch.ones(1, 3, 8, 8))
    list_sites(net)
    assert torch.equal(net.last, torch.ones(1, 3, 8, 8))
