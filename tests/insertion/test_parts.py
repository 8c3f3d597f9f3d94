"""Gates on a tensor of a tuple or list that a module returns."""

import copy
import pickle

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from convgate.errors import InputError
from convgate.folding import fold, folded
from convgate.insertion import insert, inserted, list_sites, remove
from convgate.insertion.keep import without_gates
from convgate.networks.gates import gates_of, put_gates
from fixtures.own_networks import Peeking, Returned

X = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))


def gated(start="paper"):
    torch.manual_seed(0)
    net = Returned().eval()
    insert(net, "se", start=start, reduction=2)
    for _, gate, _ in inserted(net):
        for parameter in gate.parameters():
            nn.init.normal_(parameter)
    return net


def by_hand(net, x):
    """Write the forward out, the gates as functions: y is weighed, the states are not."""
    x = net.stem(x)
    one, two = net.one, net.two
    a = one.a(x)
    x = x + one.part_gate(F.gelu(one.b(F.relu(a))))
    b = two.a(x)
    x = x + two.part_gate(F.gelu(two.b(F.relu(b))))
    return x.mean((2, 3)), a.mean((2, 3)) + b.mean((2, 3))


def test_where_they_stand():
    sites = [site for site in list_sites(Returned()) if site.name == "block_end"]
    assert [(s.path, s.where, s.part, s.layout) for s in sites] == [
        ("one", "part", 0, "NCHW"),
        ("two", "part", 1, "NHWC"),
    ]


def test_one_tensor_is_weighed_and_the_others_are_left():
    net = gated()
    torch.testing.assert_close(net(X), by_hand(net, X))
    with without_gates(net):
        assert not torch.allclose(net(X)[0], by_hand(net, X)[0])
    assert isinstance(net.one(net.stem(X)), tuple)
    assert isinstance(net.two(net.stem(X).permute(0, 2, 3, 1)), list)


@pytest.mark.parametrize(
    "form",
    [
        copy.deepcopy,
        lambda net: pickle.loads(pickle.dumps(net)),
        lambda net: torch.compile(net, fullgraph=True, backend="eager"),
        lambda net: torch.export.export(net, (X,)).module(),
    ],
    ids=["deepcopy", "pickle", "compile", "export"],
)
def test_what_users_do_next(form):
    net = gated()
    torch._dynamo.reset()
    torch.testing.assert_close(form(net)(X), by_hand(net, X))


def test_a_card_puts_them_back():
    net = gated()
    twin = copy.deepcopy(net)
    remove(twin)
    assert not any(name.endswith("part_gate") for name, _ in twin.named_modules())
    put_gates(twin, gates_of(net), "Returned")
    twin.load_state_dict(net.state_dict())
    assert all(map(torch.equal, twin(X), net(X)))
    assert [place.part for place in gates_of(net)[0].places] == [0, 1]


def test_they_are_folded_or_kept_with_a_reason():
    net = gated().double()
    lean = fold(net, X.double())
    torch.testing.assert_close(lean(X.double()), net(X.double()), rtol=1e-12, atol=1e-12)
    named = {e.path for e in (*folded(lean).folds, *folded(lean).kept)}
    assert all(any(f"{each}.".startswith(f"{path}.") for each in named)
               for path, _, _ in inserted(net))  # fmt: skip


def test_by_pattern_the_one_map_is_meant():
    report = insert(Returned(), "eca", at="two")
    assert (report.rows[0].path, report.rows[0].where) == ("two", "part")
    assert "two (part)" in str(report)


def test_a_tensor_that_the_module_itself_uses_is_not_listed():
    paths = [site.path for site in list_sites(Peeking()) if site.name == "block_end"]
    assert paths == ["two"]
    lacks = (
        r"in 1 of the 2 blocks of Peeking; of the others, 1 ends in a tensor that no module gives "
        r"or takes \(one\); give stages, or a path pattern"
    )
    with pytest.raises(InputError, match=lacks):
        insert(Peeking(), "se", reduction=2)


def test_two_tensors_of_one_module_are_refused():
    class Streams(Returned):
        class Pair(nn.Module):
            def __init__(self) -> None:
                super().__init__()
                self.a, self.b = nn.Conv2d(8, 8, 3, 1, 1), nn.Conv2d(8, 8, 3, 1, 1)

            def forward(self, x, y):
                return F.gelu(self.a(x)), F.gelu(self.b(y))

        def __init__(self) -> None:
            super().__init__()
            self.one, self.two = self.Pair(), nn.Conv2d(3, 8, 3, 1, 1)

        def forward(self, x):
            x, y = self.stem(x), self.two(x)
            a, b = self.one(x, y)
            return (x + a).mean((2, 3)), (y + b).mean((2, 3))

    sites = [site for site in list_sites(Streams()) if site.name == "block_end"]
    assert [(site.path, site.where, site.part) for site in sites] == [
        ("one", "part", 0),
        ("one", "part", 1),
    ]
    with pytest.raises(
        InputError, match="'block_end' is on 2 tensors that one returns, and a modu"
    ):
        insert(Streams(), "se", reduction=2)
