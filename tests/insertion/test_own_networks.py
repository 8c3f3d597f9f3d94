"""Networks as people write them: sites without a name that anybody could foresee.

Counts are by hand, from the forward that stands there.
"""

from collections import OrderedDict

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from convgate.errors import InputError
from convgate.insertion import insert, inserted, list_sites, remove


def conv(c_in: int, c_out: int, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(c_in, c_out, 3, stride, 1)


class Functional(nn.Module):
    """Two residual sums in the root's own forward, with functional activations."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.a, self.b = conv(3, 8, 2), conv(8, 8), conv(8, 8)
        self.c, self.d, self.down = conv(8, 16, 2), conv(16, 16), nn.Conv2d(8, 16, 1, 2)
        self.n1, self.n2 = nn.BatchNorm2d(8), nn.BatchNorm2d(16)

    def forward(self, x: Tensor) -> Tensor:
        x = F.relu(self.stem(x))
        x = F.relu(x + self.n1(self.b(F.relu(self.a(x)))))
        y = self.n2(self.d(F.relu(self.c(x))))
        return F.relu(self.down(x) + y).mean((2, 3))


class Looped(nn.Module):
    """Blocks in a ModuleList and a dict of them, run by loops."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8)
        self.units = nn.ModuleList(nn.Sequential(conv(8, 8), nn.ReLU(), conv(8, 8)) for _ in "abc")
        named = {name: nn.Sequential(conv(8, 8), nn.GELU(), conv(8, 8)) for name in ("low", "high")}
        self.named = nn.ModuleDict(named)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for unit in self.units:
            x = x + unit(x)
        for unit in self.named.values():
            x = unit(x) + x
        return x.mean((2, 3))


class InPlace(nn.Module):
    """In-place activations and sums, and one ReLU for all."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.relu = conv(3, 8), nn.ReLU(inplace=True)
        self.pairs = nn.ModuleList(nn.ModuleList([conv(8, 8), conv(8, 8)]) for _ in "ab")

    def forward(self, x: Tensor) -> Tensor:
        x = self.relu(self.stem(x))
        for first, second in self.pairs:
            out = second(self.relu(first(x)))
            out += x
            x = self.relu(out)
        return x.mean((2, 3))


class PreActivation(nn.Module):
    """Norm and activation before each convolution, the skip from before them."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8)
        parts = [(nn.BatchNorm2d(8), conv(8, 8), nn.BatchNorm2d(8), conv(8, 8)) for _ in "ab"]
        self.parts = nn.ModuleList(nn.ModuleList(part) for part in parts)

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for n1, c1, n2, c2 in self.parts:
            x = x + c2(F.silu(n2(c1(F.silu(n1(x))))))
        return x.mean((2, 3))


class Plain(nn.Module):
    """A chain: three convolutions, a pooling, two more."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            *(conv(3, 8), nn.ReLU(), conv(8, 8), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2)),
            *(conv(8, 16), nn.ReLU()),
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).mean((2, 3))


class ManyMaps(nn.Module):
    """Returns a list of feature maps and a dict."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8)
        self.f, self.down = nn.Sequential(conv(8, 8), nn.ReLU(), conv(8, 8)), conv(8, 16, 2)
        self.g = nn.Sequential(conv(16, 16), nn.ReLU(), conv(16, 16))

    def forward(self, x: Tensor) -> tuple[list[Tensor], dict[str, Tensor]]:
        a = self.stem(x)
        a = a + self.f(a)
        b = self.down(a)
        b = b + self.g(b)
        return [a, b], OrderedDict(last=b)


class Tokens(nn.Module):
    """Two MetaFormer blocks on (N, H W, C): a mixer over positions, and an MLP."""

    def __init__(self) -> None:
        super().__init__()
        self.patch = nn.Conv2d(3, 12, 4, 4)
        self.mixers = nn.ModuleList(conv(12, 12) for _ in "ab")
        self.norms = nn.ModuleList(nn.LayerNorm(12) for _ in "ab")
        self.up = nn.ModuleList(nn.Linear(12, 48) for _ in "ab")
        self.down = nn.ModuleList(nn.Linear(48, 12) for _ in "ab")

    def forward(self, x: Tensor) -> Tensor:
        x = self.patch(x)
        n, c, h, w = x.shape
        x = x.flatten(2).transpose(1, 2)
        for mixer, norm, up, down in zip(self.mixers, self.norms, self.up, self.down, strict=True):
            maps = mixer(x.transpose(1, 2).reshape(n, c, h, w))
            x = x + maps.flatten(2).transpose(1, 2)
            x = x + down(F.gelu(up(norm(x))))
        return x.mean(1)


class Attentive(nn.Module):
    """Two blocks with squeeze-and-excitation as a module with a name of its own."""

    class Weigh(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.less, self.more = nn.Linear(8, 2), nn.Linear(2, 8)

        def forward(self, x: Tensor) -> Tensor:
            s = torch.sigmoid(self.more(F.relu(self.less(x.mean((2, 3))))))
            return x * s[:, :, None, None]

    def __init__(self) -> None:
        super().__init__()
        self.stem = conv(3, 8)
        self.convs = nn.ModuleList(conv(8, 8) for _ in "ab")
        self.weigh = nn.ModuleList(self.Weigh() for _ in "ab")

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for unit, weigh in zip(self.convs, self.weigh, strict=True):
            x = x + weigh(F.relu(unit(x)))
        return x.mean((2, 3))


class Parts(nn.Module):
    """A block that splits its channels and joins them again, and one that concatenates."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.part = conv(3, 8), nn.Sequential(conv(4, 4), nn.ReLU(), conv(4, 4))
        self.wide, self.narrow, self.mix = conv(8, 8), nn.Conv2d(8, 8, 1), nn.Conv2d(16, 8, 1)

    def forward(self, x: Tensor) -> Tensor:
        a, b = self.stem(x).chunk(2, 1)
        x = torch.cat([a, self.part(b)], 1)
        return self.mix(torch.cat([self.wide(x), self.narrow(x)], 1)).mean((2, 3))


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


class Shared(nn.Module):
    """One block, run three times."""

    def __init__(self) -> None:
        super().__init__()
        self.stem, self.f = conv(3, 8), nn.Sequential(conv(8, 8), nn.ReLU(), conv(8, 8))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for _ in range(3):
            x = x + self.f(x)
        return x.mean((2, 3))


class TwoInputs(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.f, self.g = conv(3, 8), nn.Sequential(conv(8, 8), nn.ReLU(), conv(8, 8))

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        x = self.f(x) + self.f(y)
        return (x + self.g(x)).mean((2, 3))


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
    with pytest.raises(InputError, match="'block_end' is in 1 of the 3 blocks of Half"):
        insert(net, "se", reduction=2)
    assert insert(net, "se", stages=1, reduction=2).rows[0].path == "once.2"


def _flat(output: object) -> list[Tensor]:
    return [leaf for leaf in torch.utils._pytree.tree_leaves(output) if isinstance(leaf, Tensor)]


def _learns(gate: nn.Module) -> bool:
    return any(p.grad is not None and bool(p.grad.any()) for p in gate.parameters())


def _rows(maps: Tensor) -> Tensor:
    return maps.flatten(2).transpose(1, 2)


class Remembers(Looped):
    """Keeps a tensor of its last forward, as a detector keeps its anchors."""

    def forward(self, x: Tensor) -> Tensor:
        self.last = x
        return super().forward(x)


def test_a_trace_leaves_nothing_behind():
    net = Remembers().eval()
    net(torch.ones(1, 3, 8, 8))
    list_sites(net)
    assert torch.equal(net.last, torch.ones(1, 3, 8, 8))
