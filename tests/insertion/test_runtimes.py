"""Gated networks where networks run: compiled, exported, in mixed precision, and in parallel."""

import copy
import subprocess
import sys

import pytest
import timm
import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel

from convgate.insertion import insert, inserted

PLACES = [("resnet", "spatial"), ("convnext", "hidden"), ("resnet_cifar", "block_end")]


@pytest.fixture(params=PLACES, ids=[name for name, _ in PLACES])
def gated(request, backbone) -> nn.Module:
    """Return a network with gates on outputs, on inputs, or on channels-last tensors."""
    name, at = request.param
    net = backbone(name)
    insert(net, "se", at=at, start="identity")
    for _, gate, _ in inserted(net):
        nn.init.normal_(gate.gate.excite.weight)
    return net


def test_compiled_as_one_graph(gated):
    gated.eval()
    x = torch.randn(2, 3, 32, 32)
    torch._dynamo.reset()
    compiled = torch.compile(gated, fullgraph=True, backend="eager")
    torch.testing.assert_close(compiled(x), gated(x))


def test_compiled_training_reaches_the_gates(backbone):
    net = backbone("resnet_cifar").train()
    insert(net, "seln")
    torch._dynamo.reset()
    torch.compile(net, fullgraph=True, backend="aot_eager")(
        torch.randn(4, 3, 32, 32)
    ).sum().backward()
    assert all(gate.norm.weight.grad.any() for _, gate, _ in inserted(net))


def test_exported(gated):
    gated.eval()
    x = torch.randn(2, 3, 32, 32)
    program = torch.export.export(gated, (x,))
    torch.testing.assert_close(program.module()(x), gated(x))
    assert set(program.state_dict) == set(gated.state_dict())


def test_mixed_precision_starts_as_the_identity(backbone):
    net, x = backbone("resnet").eval(), torch.randn(2, 3, 32, 32)
    for gate in ("se", "seln", "ela_b"):
        twin = copy.deepcopy(net)
        insert(twin, gate, **({"num_groups": 8} if gate == "ela_b" else {}))
        with torch.autocast("cpu", torch.bfloat16):
            assert torch.equal(twin(x), net(x)), gate


def test_channels_last_images(backbone):
    net = backbone("resnet").eval().to(memory_format=torch.channels_last)
    x = torch.randn(2, 3, 32, 32).to(memory_format=torch.channels_last)
    before = net(x)
    insert(net, "se")
    assert torch.equal(net(x), before)


def test_parallel_with_one_process(tmp_path, backbone):
    """Every parameter takes part from the first step on, so no search for unused ones is asked."""
    net = backbone("resnet_cifar").train()
    insert(net, "se")
    plain = backbone("resnet_cifar").state_dict()
    dist.init_process_group("gloo", init_method=f"file://{tmp_path}/store", rank=0, world_size=1)
    try:
        wrapped = DistributedDataParallel(net)
        for _ in range(2):
            wrapped(torch.randn(4, 3, 32, 32)).sum().backward()
        wrapped.load_state_dict(
            {f"module.{key}": value for key, value in plain.items()}, strict=True
        )
    finally:
        dist.destroy_process_group()
    assert all(p.grad is not None for p in net.parameters())


@pytest.mark.slow
def test_parallel_with_two_processes_equals_one(tmp_path):
    """ConvNeXt has no batch statistics, so half batches give the whole batch's mean gradient."""
    for world in (1, 2):
        words = [sys.executable, __file__, str(tmp_path / f"{world}"), str(world)]
        runs = [subprocess.Popen([*words, str(rank)]) for rank in range(world)]
        assert [process.wait(timeout=120) for process in runs] == [0] * world
    one, two = (torch.load(tmp_path / f"{n}.weights", weights_only=True) for n in (1, 2))
    torch.testing.assert_close(two, one, rtol=1e-4, atol=1e-5)


def train(store: str, world: int, rank: int) -> None:
    """Take two steps on this process's share of four images, and save the weights."""
    torch.manual_seed(0)
    net, x = timm.create_model("test_convnext", num_classes=5).train(), torch.randn(4, 3, 32, 32)
    insert(net, "seln", at="hidden", reduction=8)
    dist.init_process_group("gloo", init_method=f"file://{store}", rank=rank, world_size=world)
    wrapped = DistributedDataParallel(net)
    optimizer = torch.optim.SGD(net.parameters(), lr=0.05)
    for _ in range(2):
        optimizer.zero_grad()
        wrapped(x.chunk(world)[rank]).logsumexp(1).mean().backward()
        optimizer.step()
    if rank == 0:
        torch.save(net.state_dict(), f"{store}.weights")
    dist.destroy_process_group()


if __name__ == "__main__":
    train(sys.argv[1], int(sys.argv[2]), int(sys.argv[3]))
