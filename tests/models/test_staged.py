"""What timm asks of a model, of every network that this package registers."""

import copy
import io

import pytest
import timm
import torch
from timm.models import group_parameters
from timm.optim import param_groups_layer_decay

from convgate.errors import InputError
from convgate.models.staged import drop_path_rates

ACTIVATIONS = (torch.nn.GELU, torch.nn.ReLU, torch.nn.ReLU6, torch.nn.SiLU)
X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(0))


def test_forward_is_head_of_features(build):
    model = build().eval()
    features = model.forward_features(X)
    assert features.shape[1] == model.num_features
    assert torch.equal(model(X), model.forward_head(features))
    pooled = model.forward_head(features, pre_logits=True)
    assert pooled.shape == (2, model.head_hidden_size)
    assert torch.equal(model.get_classifier()(pooled), model(X))


def test_options_together(build, name):
    # Blocks that join their branches have none that could be skipped.
    skip = {} if name.startswith(("shufflenet", "csp")) else {"drop_path_rate": 0.1}
    net = build(num_classes=10, features_only=True, in_chans=1, **skip)
    maps = net(torch.randn(2, 1, 32, 64))
    assert [m.shape[1] for m in maps] == net.feature_info.channels()
    assert [(32 // m.shape[2], 64 // m.shape[3]) for m in maps] == [
        (r, r) for r in net.feature_info.reduction()
    ]


@pytest.mark.parametrize("feature_cls", ["list", "dict", "hook", "getter", "fx"])
def test_features_are_the_stages_outputs(build, feature_cls):
    torch.manual_seed(0)
    model = build().eval()
    torch.manual_seed(0)  # the same weights again
    net = build(features_only=True, out_indices=(0, 2), feature_cls=feature_cls).eval()
    maps = net(X)
    maps = list(maps.values()) if isinstance(maps, dict) else maps
    _, expected = model.forward_intermediates(X, indices=(0, 2))
    assert len(maps) == 2
    for ours, theirs in zip(maps, expected, strict=True):
        assert torch.equal(ours, theirs)


def test_intermediates(build):
    model = build().eval()
    last, every = model.forward_intermediates(X)
    assert len(every) == len(model.feature_info)
    assert torch.equal(last, model.forward_features(X))
    assert torch.equal(every[-1], last)
    only = model.forward_intermediates(X, indices=2, intermediates_only=True)
    assert all(map(torch.equal, only, every[-2:]))
    stopped, _ = model.forward_intermediates(X, indices=[0], stop_early=True)
    assert torch.equal(stopped, every[0])
    with pytest.raises(InputError, match="NCHW"):
        model.forward_intermediates(X, output_fmt="NHWC")
    with pytest.raises(InputError, match="choose from 0 to"):
        model.forward_intermediates(X, indices=[9])


def test_pruning_keeps_the_stages_that_are_left(build):
    model = build().eval()
    expected = model.forward_intermediates(X, indices=[1], intermediates_only=True)
    before = sum(p.numel() for p in model.parameters())
    assert model.prune_intermediate_layers([1]) == [1]
    assert torch.equal(model(X), expected[0])
    assert model.num_features == expected[0].shape[1]
    assert sum(p.numel() for p in model.parameters()) < before


def test_reset_classifier(build):
    model = build().eval().double()
    x = X.double()
    model.reset_classifier(7)
    assert model(x).shape == (2, 7)
    assert model.num_classes == 7
    model.reset_classifier(3, "max")
    assert model(x).shape == (2, 3)
    model.reset_classifier(0)
    assert model(x).shape == (2, model.num_features)
    model.reset_classifier(0, "")
    assert model(x).shape == model.forward_features(x).shape


def test_a_new_classifier_is_as_the_rest(build):
    model = build().eval().half().to("meta")
    for classes, pool in ((0, None), (2, None), (3, "max")):
        model.reset_classifier(classes, pool)
        assert not any(module.training for module in model.modules())
        assert {(p.device.type, p.dtype) for p in model.parameters()} == {("meta", torch.float16)}


@pytest.mark.parametrize("features_only", [False, True])
def test_device_and_dtype(build, features_only):
    model = build(device="meta", dtype=torch.bfloat16, features_only=features_only)
    tensors = [*model.parameters(), *model.buffers()]
    assert {tensor.device.type for tensor in tensors} == {"meta"}
    assert {t.dtype for t in tensors if t.is_floating_point()} == {torch.bfloat16}
    with pytest.raises(TypeError, match="no_option"):
        build(device="meta", no_option=1)


@pytest.mark.filterwarnings("ignore:`torch.jit")
def test_torchscript(build):
    model, stored = build().eval(), io.BytesIO()
    torch.jit.save(torch.jit.script(model), stored)
    stored.seek(0)
    with torch.no_grad():
        torch.testing.assert_close(torch.jit.load(stored)(X), model(X))


def test_no_classes_gives_pooled_features(build):
    model = build(num_classes=0).eval()
    assert model(X).shape == (2, model.num_features)
    assert isinstance(model.get_classifier(), torch.nn.Identity)


def test_configuration(build, name):
    model = build()
    assert model.default_cfg["architecture"] == name
    assert not model.default_cfg["url"]
    first = model.get_submodule(model.default_cfg["first_conv"])
    assert first.in_channels == (12 if name.startswith("csp") else 3)  # every second pixel apart
    assert model.get_submodule(model.default_cfg["classifier"]) is model.get_classifier()
    side = 224 if name.startswith(("hornet", "csp")) else 32
    assert timm.data.resolve_model_data_config(model)["input_size"] == (3, side, side)


@pytest.mark.parametrize("coarse", [False, True])
def test_every_parameter_has_a_layer(build, coarse):
    model = build()
    groups = group_parameters(model, model.group_matcher(coarse=coarse))
    grouped = [name for names in groups.values() for name in names]
    assert sorted(grouped) == sorted(name for name, _ in model.named_parameters())
    assert len(groups) >= len(model.feature_info) + 1


def test_layer_decay_lowers_the_rate_towards_the_stem(build):
    model = build()
    groups = param_groups_layer_decay(model, weight_decay=0.05, layer_decay=0.5)
    scale = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    first = model.get_submodule(model.default_cfg["first_conv"]).weight
    assert scale[id(first)] < scale[id(model.get_classifier().weight)] == 1.0


def test_checkpointing_changes_no_gradient(build):
    torch.manual_seed(0)
    plain = build().train()
    saving = copy.deepcopy(plain)
    saving.set_grad_checkpointing()
    calls = {"plain": 0, "saving": 0}
    for key, model in (("plain", plain), ("saving", saving)):

        def count(*_, key=key):
            calls[key] += 1

        for module in model.modules():
            if isinstance(module, ACTIVATIONS):
                module.register_forward_hook(count)
        model(X).square().sum().backward()
    assert calls["saving"] > calls["plain"]  # blocks ran again on the way back
    for ours, theirs in zip(saving.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)
    saving.set_grad_checkpointing(False)
    assert not any(getattr(m, "grad_checkpointing", False) for m in saving.modules())


def test_every_parameter_gets_gradient(build):
    torch.manual_seed(0)
    model = build().train()
    model(X).square().sum().backward()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in model.parameters())


def test_compiles_whole_and_exports(build):
    model = build().eval()
    torch.compiler.reset()
    with torch.no_grad():
        whole = torch.compile(model, fullgraph=True, backend="aot_eager")(X)
        exported = torch.export.export(model, (X,)).module()(X)
        torch.testing.assert_close(whole, model(X))
        torch.testing.assert_close(exported, model(X))


def test_drop_path_rates():
    flat = [rate for stage in drop_path_rates(0.3, (1, 2, 1)) for rate in stage]
    assert flat == pytest.approx([0.0, 0.1, 0.2, 0.3])
    assert [len(stage) for stage in drop_path_rates(0.3, (1, 2, 1))] == [1, 2, 1]
    assert drop_path_rates(0.3, (1,)) == [[0.0]]
