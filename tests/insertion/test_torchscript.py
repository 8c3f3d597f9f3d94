"""TorchScript of gated networks: traced whole; scripted, refused in one sentence."""

import copy
import io

import pytest
import torch

from convgate.errors import InputError
from convgate.gates import list_gates
from convgate.insertion import insert, inserted, remove, replace

pytestmark = [
    pytest.mark.filterwarnings("ignore:`torch.jit"),
    pytest.mark.filterwarnings("ignore::torch.jit.TracerWarning"),
]


def outputs(net, x):
    with torch.no_grad():
        return net(x)


@pytest.mark.parametrize("at", ["block_end", "spatial_raw", "conv2:input"])
def test_scripting_is_refused_until_the_gates_are_removed(backbone, at):
    net, x = backbone("resnet_cifar").eval(), torch.randn(2, 3, 32, 32)
    torch.jit.script(copy.deepcopy(net))  # what a gate must be in the way of
    insert(net, "se", at=at if at != "conv2:input" else "*.conv2:input")
    before = outputs(net, x)
    with pytest.raises(InputError, match=r"inserted gates run from; use torch\.jit\.trace\(model"):
        torch.jit.script(net)
    assert torch.equal(outputs(net, x), before) and any(inserted(net))
    remove(net)
    torch.testing.assert_close(outputs(torch.jit.script(net), x), outputs(net, x))


def test_a_gate_in_the_place_of_a_module_is_scripted(backbone):
    net, x = backbone("regnet").eval(), torch.randn(2, 3, 64, 64)
    replace(net, "se", "seln", reduction=4)
    torch.testing.assert_close(outputs(torch.jit.script(net), x), outputs(net, x))


@pytest.mark.parametrize("gate", list_gates())
def test_tracing_takes_every_gate(backbone, options, gate):
    net, x = backbone("resnet_cifar").eval(), torch.randn(2, 3, 32, 32)
    insert(net, gate, start="paper", **options.get(gate, {}))
    for _, module, _ in inserted(net):
        for parameter in module.parameters():
            torch.nn.init.normal_(parameter, std=0.3)
    file = io.BytesIO()
    torch.jit.save(torch.jit.trace(net, x, check_trace=False), file)
    file.seek(0)
    torch.manual_seed(1)
    expected = outputs(net, x)
    torch.manual_seed(1)
    torch.testing.assert_close(outputs(torch.jit.load(file), x), expected)
