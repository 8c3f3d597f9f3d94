"""Gates stay where they were put when other code exchanges or merges the modules they are on."""

import copy
import pickle

import pytest
import timm
import torch
from timm.layers import convert_sync_batchnorm as timm_convert_sync_batchnorm
from timm.layers import freeze_batch_norm_2d
from torch import nn
from torch.fx import symbolic_trace
from torch.fx.experimental.optimization import fuse

from convgate.insertion import insert, inserted, remove
from convgate.insertion.keep import without_gates


def gated(backbone, name: str, at: str = "block_end") -> nn.Module:
    """Return a network whose gates change its output."""
    net = backbone(name)
    insert(net, "se", at=at, start="paper")
    for _, gate, _ in inserted(net):
        nn.init.normal_(gate.excite.weight)
    return net.eval()


CONVERSIONS = [
    ("resnet", nn.SyncBatchNorm.convert_sync_batchnorm),
    ("resnet_cifar", nn.SyncBatchNorm.convert_sync_batchnorm),
    ("resnet", timm_convert_sync_batchnorm),
    ("efficientnet", timm_convert_sync_batchnorm),
    ("resnet_cifar", freeze_batch_norm_2d),
    ("efficientnet", freeze_batch_norm_2d),
]
"""torch's own drops the activations in timm's norms, with gates or without."""


@pytest.mark.parametrize(("name", "convert"), CONVERSIONS)
def test_gates_survive_an_exchange_of_norms(backbone, name, convert):
    net, x = gated(backbone, name), torch.randn(2, 3, 64, 64)
    before, plain = net(x), backbone(name).eval()(x)
    assert not torch.allclose(before, plain, atol=1e-3)
    converted = convert(net)
    torch.testing.assert_close(converted(x), before)
    assert len(list(inserted(converted))) == len(list(inserted(net)))
    assert len(remove(converted).rows) > 0
    torch.testing.assert_close(converted(x), plain)


@pytest.mark.parametrize("name", ["resnet", "resnet_cifar", "densenet"])
@pytest.mark.parametrize("rewrite", [fuse, symbolic_trace], ids=["fuse", "symbolic_trace"])
def test_gates_survive_graph_rewriters(backbone, name, rewrite):
    net, x = gated(backbone, name), torch.randn(2, 3, 64, 64)
    torch.testing.assert_close(rewrite(net)(x), net(x), rtol=1e-4, atol=1e-5)


def test_copies_keep_their_own_gates(backbone):
    net, x = gated(backbone, "resnet_cifar"), torch.randn(2, 3, 32, 32)
    for twin in (copy.deepcopy(net), pickle.loads(pickle.dumps(net))):
        for _, gate, _ in inserted(twin):
            nn.init.zeros_(gate.excite.weight)
        changed = twin(x)
        frozen = freeze_batch_norm_2d(twin)
        torch.testing.assert_close(frozen(x), changed)
    assert not torch.allclose(net(x), changed)


def test_a_removed_gate_leaves_the_class_of_its_norm(backbone):
    net = backbone("resnet_cifar")
    kinds = [type(module) for module in net.modules()]
    insert(net, "se")
    remove(net)
    assert [type(module) for module in net.modules()] == kinds
    assert not any(module._forward_pre_hooks for module in net.modules())


def test_features_only_before_and_after(backbone):
    x = torch.randn(2, 3, 64, 64)
    plain = timm.create_model("resnet18", features_only=True).eval()
    maps = plain(x)
    report = insert(plain, "se", at="block_end")
    assert len(report.rows) == 8
    assert all(torch.equal(a, b) for a, b in zip(plain(x), maps, strict=True))


def test_without_gates_none_runs_and_none_is_put_back(backbone):
    net, x = backbone("resnet").eval(), torch.randn(2, 3, 32, 32)
    with torch.no_grad():
        plain = net(x)
        insert(net, "se", start="paper")
        gated = net(x)
        with without_gates(net):
            assert torch.equal(net(x), plain)
        assert torch.equal(net(x), gated) and not torch.equal(gated, plain)
