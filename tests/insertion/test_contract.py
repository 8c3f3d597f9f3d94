"""Every gate in nine backbones: nothing changes, and everything learns."""

import copy

import pytest
import torch
from torch import nn

from convgate.gates import list_gates
from convgate.insertion import insert, inserted, remove

PLACES = {
    "resnet": "block_end",
    "efficientnet": "spatial",
    "convnext": "hidden",
    "mobilenet_v2": "expanded",
    "shufflenet_v2": "stage_end",
    "regnet": "spatial_raw",
    "hornet": "hidden",
    "mobilenext": "spatial",
    "wide_resnet": "block_end",
}
"""Nine families, and a site each: outputs and inputs, both orders of axes, before and after SE."""

RANDOM = {"pdfam_gmm"}  # draws numbers at every forward, and so moves the dropout that follows


def run(model: nn.Module, x: torch.Tensor, training: bool) -> torch.Tensor:
    torch.manual_seed(1)
    # A forward pass in training moves the running statistics.
    twin = copy.deepcopy(model) if training else model
    with torch.no_grad():
        return twin.train(training)(x)


@pytest.mark.parametrize("name", PLACES)
def test_every_gate_leaves_the_network_as_it_was(name, backbone, options):
    base, x = backbone(name), torch.randn(2, 3, 32, 32)
    plain = base.state_dict()
    before = {training: run(base, x, training) for training in (False, True)}
    for gate in list_gates():
        net = copy.deepcopy(base).train()
        insert(net, gate, at=PLACES[name], **options.get(gate, {}))
        kept = [key for key in net.state_dict() if key in plain]
        assert kept == list(plain), gate
        assert torch.equal(run(net, x, False), before[False]), gate
        if gate not in RANDOM or not any(m.p for m in net.modules() if isinstance(m, nn.Dropout)):
            assert torch.equal(run(net, x, True), before[True]), gate
        gates = {path: copy.deepcopy(module.state_dict()) for path, module, _ in inserted(net)}
        assert gates
        net.load_state_dict(plain, strict=True)
        for path, values in gates.items():
            torch.testing.assert_close(net.get_submodule(path).state_dict(), values)
        remove(net)
        assert list(net.state_dict()) == list(plain), gate
        assert torch.equal(run(net, x, False), before[False]), gate


@pytest.mark.parametrize("gate", list_gates())
def test_every_parameter_of_a_gate_gets_a_gradient(gate, backbone, options):
    net, x = backbone("resnet_cifar").train(), torch.randn(4, 3, 32, 32)
    insert(net, gate, at="block_end", **options.get(gate, {}))
    optimizer = torch.optim.SGD(net.parameters(), lr=0.1)
    reached: list[set[str]] = []
    # The first step moves the last layer, or alpha; what alpha blends in may start at zero as well
    # and move in the second; then everything has a gradient.
    for _ in range(3):
        optimizer.zero_grad()
        net(x).logsumexp(1).sum().backward()
        reached.append(gates_reached(net))
        optimizer.step()
    every = {name for path, module, _ in inserted(net) for name, _ in module.named_parameters()}
    assert reached[0]
    assert set().union(*reached) == every


def gates_reached(net: nn.Module) -> set[str]:
    """Return the names of the gates' parameters that have a gradient at one site at least."""
    return {
        name
        for _, module, _ in inserted(net)
        for name, p in module.named_parameters()
        if p.grad is not None and p.grad.any()
    }


@pytest.mark.parametrize("start", ["identity", "paper"])
def test_gates_bear_what_changes_their_output_in_place(start, backbone, options):
    """Before an activation in place, and before an addition in place: gradients still flow."""
    for gate in list_gates():
        for at in ("layer*.bn1", "block_end"):
            net = backbone("resnet").train()
            insert(net, gate, at=at, start=start, **options.get(gate, {}))
            net(torch.randn(2, 3, 32, 32)).logsumexp(1).sum().backward()
            assert net.conv1[0].weight.grad.isfinite().all(), (gate, at)


def test_the_first_step_reaches_every_site(backbone):
    net, x = backbone("resnet_cifar").train(), torch.randn(4, 3, 32, 32)
    for gate in ("se", "seln"):
        twin = copy.deepcopy(net)
        insert(twin, gate, at="block_end")
        twin(x).logsumexp(1).sum().backward()
        for _, module, _ in inserted(twin):
            assert any(p.grad is not None and p.grad.any() for p in module.parameters())
