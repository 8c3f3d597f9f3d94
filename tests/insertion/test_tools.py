"""What users do next with a gated network: feature wrappers, averages, reparameterisation."""

import copy

import pytest
import timm
import torch
from timm.models._features import FeatureDictNet, FeatureGetterNet, FeatureHookNet, FeatureListNet
from timm.utils import ModelEmaV3
from timm.utils.model import reparameterize_model
from torch.optim.swa_utils import AveragedModel

from convgate.errors import InputError
from convgate.insertion import insert, inserted, remove

X = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))


def randomised(model):
    torch.manual_seed(0)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model.eval()


def gated(name="resnet10t"):
    model = timm.create_model(name)
    insert(model, "se", start="paper")
    return randomised(model)


@pytest.mark.parametrize(
    "wrapper", [FeatureListNet, FeatureDictNet, FeatureHookNet, FeatureGetterNet]
)
def test_features_of_a_gated_network(wrapper):
    model = gated()
    with torch.no_grad():
        expected = model.forward_intermediates(X, intermediates_only=True)
        given = wrapper(model, out_indices=(0, 1, 2, 3, 4)).eval()(X)
    maps = list(given.values()) if isinstance(given, dict) else given
    for one, other in zip(maps, expected, strict=True):
        assert torch.equal(one, other)


def test_gates_into_a_feature_network():
    model = randomised(timm.create_model("resnet10t", features_only=True))
    with torch.no_grad():
        plain = model(X)
        report = insert(model, "se", start="paper", example_input=X)
        maps = model(X)
    assert len(report.rows) == 4
    assert all(not torch.equal(one, other) for one, other in zip(maps[1:], plain[1:], strict=True))


@pytest.mark.parametrize("average", [ModelEmaV3, AveragedModel])
def test_an_average_holds_gates_of_its_own(average):
    model = gated()
    mean = average(model)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.mul_(2)
        (mean.update if average is ModelEmaV3 else mean.update_parameters)(model)
        before = mean.module.eval()(X)
        for _, gate, _ in inserted(model):  # those of the network alone
            for parameter in gate.parameters():
                parameter.zero_()
        assert torch.equal(mean.module(X), before)
        gates = [gate for _, gate, _ in inserted(mean.module)]
        for parameter in gates[-1].parameters():
            parameter.add_(1)
        assert len(gates) == 4 and not torch.equal(mean.module(X), before)


@pytest.mark.parametrize("name", ["fastvit_t8", "repvgg_a0"])
def test_gates_stay_where_layers_are_merged(name):
    model = gated(name).double()
    x = torch.randn(1, 3, 64, 64, dtype=torch.float64)
    with torch.no_grad():
        merged = reparameterize_model(model)
        expected = model(x)
        assert torch.dist(merged(x), expected) < 1e-9 * expected.norm()
    assert len(list(inserted(merged))) == len(list(inserted(model)))


def test_a_gate_is_never_merged_away():
    model = gated("repvit_m0_9")
    keys = model.state_dict().keys()
    with pytest.raises(InputError, match=r"ConvNorm\.fuse merges the layer that carries the gate"):
        reparameterize_model(model)
    assert model.state_dict().keys() == keys
    with pytest.raises(InputError, match="reparameterise the network first, and insert gates"):
        reparameterize_model(copy.deepcopy(model))
    remove(model)
    x = torch.randn(1, 3, 224, 224)
    with torch.no_grad():
        merged = reparameterize_model(model)
        expected = model(x)
        assert torch.dist(merged(x), expected) < 1e-3 * expected.norm()
        insert(merged, "se")
        assert torch.dist(merged(x), expected) < 1e-3 * expected.norm()
    assert len(list(inserted(merged))) == 26
