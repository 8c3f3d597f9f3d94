"""Published key names to ours, and files that are not what they claim to be."""

import argparse
import pickle
import re

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from convgate.errors import CorruptFile, InputError
from convgate.insertion import insert
from convgate.models import (
    SELNeXt,
    create_model,
    from_authors,
    load_checkpoint_file,
    load_weights,
)
from convgate.models.create import classes_in

DEPTHS, DIMS = (1, 1, 2, 1), (8, 16, 24, 32)


def model(**options):
    return SELNeXt(num_classes=5, depths=DEPTHS, dims=DIMS, **options)


def authors_shapes():
    """The keys and shapes of the published network, written out role by role."""
    yield from with_bias("downsample_layers.0.0", (8, 3, 4, 4))
    yield from with_bias("downsample_layers.0.1", (8,))
    for s in (1, 2, 3):
        yield from with_bias(f"downsample_layers.{s}.0", (DIMS[s - 1],))
        yield from with_bias(f"downsample_layers.{s}.1", (DIMS[s], DIMS[s - 1], 2, 2))
    for s, (depth, c) in enumerate(zip(DEPTHS, DIMS, strict=True)):
        for b in range(depth):
            at = f"stages.{s}.{b}"
            yield f"{at}.gamma", (c,)
            yield from with_bias(f"{at}.dwconv", (c, 1, 7, 7))
            yield from with_bias(f"{at}.pwconv1", (4 * c, c))
            yield from with_bias(f"{at}.norm.conv_reduce", (c // 4, 4 * c))
            yield from with_bias(f"{at}.norm.conv_expand", (4 * c, c // 4))
            yield from with_bias(f"{at}.norm.gate", (4 * c,))
            yield from with_bias(f"{at}.pwconv2", (c, 4 * c))
    yield from with_bias("norm", (32,))
    yield from with_bias("head", (5, 32))


def with_bias(key, shape):
    yield f"{key}.weight", shape
    yield f"{key}.bias", shape[:1]


THEIRS = {
    r"^stem": "downsample_layers.0",
    r"^stages\.(\d)\.downsample": r"downsample_layers.\1",
    r"\.blocks\.": ".",
    "conv_dw": "dwconv",
    r"mlp\.fc1": "pwconv1",
    r"mlp\.fc2": "pwconv2",
    r"mlp\.gate\.squeeze": "norm.conv_reduce",
    r"mlp\.gate\.excite": "norm.conv_expand",
    r"mlp\.gate\.norm": "norm.gate",
    r"^head\.norm": "norm",
    r"^head\.fc": "head",
}


def to_authors(weights):
    """Our keys by the authors' names."""
    renamed = {}
    for key, value in weights.items():
        for ours, theirs in THEIRS.items():
            key = re.sub(ours, theirs, key)
        renamed[key] = value
    return renamed


@pytest.fixture
def published():
    draw = torch.Generator().manual_seed(0)
    return {key: torch.randn(shape, generator=draw) for key, shape in authors_shapes()}


def test_every_published_key_finds_its_place(published):
    net = model()
    net.load_state_dict(from_authors(published))
    block = net.stages[2].blocks[1]
    at = "stages.2.1."
    for ours, theirs in [
        (net.stem[0].weight, "downsample_layers.0.0.weight"),
        (net.stem[1].bias, "downsample_layers.0.1.bias"),
        (net.stages[3].downsample[0].weight, "downsample_layers.3.0.weight"),
        (net.stages[1].downsample[1].weight, "downsample_layers.1.1.weight"),
        (block.conv_dw.weight, at + "dwconv.weight"),
        (block.mlp.fc1.weight, at + "pwconv1.weight"),
        (block.mlp.fc2.bias, at + "pwconv2.bias"),
        (block.mlp.gate.squeeze.weight, at + "norm.conv_reduce.weight"),
        (block.mlp.gate.excite.bias, at + "norm.conv_expand.bias"),
        (block.mlp.gate.norm.weight, at + "norm.gate.weight"),
        (block.gamma, at + "gamma"),
        (net.head.norm.weight, "norm.weight"),
        (net.head.fc.bias, "head.bias"),
    ]:
        assert torch.equal(ours, published[theirs]), theirs


def test_back_and_forth_is_exact(published):
    back = to_authors(from_authors(published))
    assert back.keys() == published.keys()
    assert all(torch.equal(back[key], published[key]) for key in published)
    own = model().state_dict()
    assert to_authors(own).keys() == published.keys()
    assert from_authors(own).keys() == own.keys()


def test_gate_is_known_by_place_and_rank(published):
    """Whatever the inner layer norm is called, and if the layers are 1x1 convolutions."""
    renamed = {}
    for key, value in published.items():
        if "conv_reduce.weight" in key or "pwconv1.weight" in key:
            value = value[:, :, None, None]
        renamed[key.replace("norm.gate", "norm.ln")] = value
    expected = from_authors(published)
    found = from_authors(renamed)
    assert found.keys() == expected.keys()
    assert all(torch.equal(found[key], expected[key]) for key in expected)


def test_published_convnext_keys_load_into_the_block_without_gate():
    net = model(gate="none", block_norm=True)
    names = {key: key for key in net.state_dict()}
    assert from_authors(to_authors(net.state_dict())).keys() == names.keys()
    assert "stages.2.1.norm.weight" in to_authors(net.state_dict())


def test_unknown_key_is_refused_by_name(published):
    published["stages.0.0.extra.weight"] = torch.zeros(1)
    with pytest.raises(CorruptFile, match=r"'stages\.0\.0\.extra\.weight'"):
        from_authors(published)


@pytest.mark.parametrize("wrapper", [None, "model", "model_ema"])
def test_published_file_loads(tmp_path, published, wrapper):
    path = tmp_path / "selnext.pth"
    content = published
    if wrapper:
        # as a training script leaves it: with its arguments, under DDP's prefix
        prefixed = {f"module.{key}": value for key, value in published.items()}
        content = {wrapper: prefixed, "args": argparse.Namespace(lr=4e-3), "epoch": 3}
    torch.save(content, path)
    net = model()
    load_weights(net, path)
    assert torch.equal(net.head.fc.weight, published["head.weight"])


def test_averaged_weights_are_preferred_unless_refused(tmp_path):
    path = tmp_path / "both.pth"
    torch.save({"model": {"w": torch.zeros(1)}, "model_ema": {"w": torch.ones(1)}}, path)
    assert load_checkpoint_file(path)["w"] == 1
    assert load_checkpoint_file(path, ema=False)["w"] == 0


def test_safetensors_file_loads(tmp_path, published):
    path = tmp_path / "selnext.safetensors"
    save_file(published, path)
    net = model()
    load_weights(net, path)
    assert torch.equal(net.head.fc.weight, published["head.weight"])


def test_timm_loads_a_published_file(tmp_path, published):
    path = tmp_path / "selnext.pth"
    torch.save({"model": published}, path)
    net = timm.create_model(
        "selnext_tiny",
        pretrained=True,
        pretrained_cfg_overlay={"file": str(path), "num_classes": 5},
        num_classes=5,
        in_chans=1,
        depths=DEPTHS,
        dims=DIMS,
    )
    expected = published["downsample_layers.0.0.weight"].sum(1, keepdim=True)
    torch.testing.assert_close(net.stem[0].weight, expected)
    assert torch.equal(net.stages[3].blocks[0].gamma, published["stages.3.0.gamma"])


class Trap:
    def __reduce__(self):
        return print, ("a pickle ran",)


def corrupt(path, kind, published):
    if kind == "text":
        path.write_text("<html>not found</html>")
    elif kind == "empty":
        path.touch()
    elif kind == "pickle":
        path.write_bytes(pickle.dumps(Trap()))
    elif kind == "trap":
        torch.save({"model": Trap()}, path)
    elif kind == "list":
        torch.save([torch.zeros(1)], path)
    elif kind == "numbers":
        torch.save({"epoch": 3}, path)
    elif kind == "nothing":
        torch.save({"model": {}}, path)
    else:
        (save_file if kind == "safetensors" else torch.save)(published, path)
        path.write_bytes(path.read_bytes()[:-2000])


@pytest.mark.parametrize(
    "kind",
    ["text", "empty", "pickle", "trap", "list", "numbers", "nothing", "truncated", "safetensors"],
)
def test_damaged_or_foreign_file_is_one_sentence(tmp_path, published, kind, capsys):
    path = tmp_path / ("w.safetensors" if kind == "safetensors" else "w.pth")
    corrupt(path, kind, published)
    with pytest.raises(CorruptFile) as caught:
        load_checkpoint_file(path)
    assert str(path) in str(caught.value)
    assert "\n" not in str(caught.value)
    assert capsys.readouterr().out == ""


def test_missing_file_is_one_sentence(tmp_path):
    with pytest.raises(InputError, match="no such file"):
        load_checkpoint_file(tmp_path / "none.pth")


def test_another_networks_weights_are_refused(tmp_path, published):
    path = tmp_path / "w.pth"
    torch.save(nn.Linear(2, 2).state_dict(), path)
    with pytest.raises(InputError, match=r"lacks 'head\.fc\.bias' and"):
        load_weights(model(), path)
    torch.save({**published, "stages.0.9.gamma": torch.ones(8)}, path)
    with pytest.raises(InputError, match=r"unknown 'stages.0.blocks.9.gamma'; "):
        load_weights(model(), path)
    torch.save({**published, "head.weight": torch.ones(7, 32)}, path)
    with pytest.raises(
        InputError, match=r"head.fc.weight is \(7, 32\) and the model's is \(5, 32\)"
    ):
        load_weights(model(), path)


@pytest.mark.parametrize(
    ("theirs", "ours", "sentence"),
    [
        (
            "se",
            None,
            "has the unknown 'layer1.0.bn2.gate.excite.bias' and 11 more; it is of a network with",
        ),
        (
            None,
            "se",
            "lacks 'layer1.0.bn2.gate.excite.bias' and 11 more; it is of the network without",
        ),
        ("se", "eca", "it is not one of this ResNetCifar: name the network that it was made from"),
    ],
)
def test_gates_on_one_side_alone(tmp_path, theirs, ours, sentence):
    nets = [create_model("resnet8") for _ in range(2)]
    for net, gate in zip(nets, (theirs, ours), strict=True):
        if gate:
            insert(net, gate, start="paper")
    path = tmp_path / "weights.pth"
    torch.save(nets[0].state_dict(), path)
    before = {key: value.clone() for key, value in nets[1].state_dict().items()}
    with pytest.raises(InputError, match=sentence) as caught:
        load_weights(nets[1], path)
    assert "\n" not in str(caught.value)
    assert all(torch.equal(value, before[key]) for key, value in nets[1].state_dict().items())


def test_another_number_of_classes_names_the_way_out(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(create_model("resnet8", num_classes=7).state_dict(), path)
    with pytest.raises(InputError, match=r"build the model with num_classes=7, if this is its"):
        create_model("resnet8", checkpoint_path=path)


@pytest.mark.parametrize("name", ["resnet8", "torchvision/resnet18", "torchvision/squeezenet1_1"])
@pytest.mark.parametrize("classes", [7, 1000])
def test_the_classes_of_a_checkpoint(tmp_path, name, classes):
    path = tmp_path / "weights.pth"
    torch.save(create_model(name, num_classes=classes).state_dict(), path)
    assert classes_in(path, name, {}) == classes


def test_the_classes_of_another_networks_checkpoint_are_not_known(tmp_path):
    path = tmp_path / "weights.pth"
    torch.save(create_model("resnet8", in_chans=1, num_classes=7).state_dict(), path)
    assert classes_in(path, "resnet8", {"in_chans": 1}) == 7
    halved = {k: v[: len(v) // 2] if v.ndim else v for k, v in torch.load(path).items()}
    torch.save(halved, path)
    assert classes_in(path, "resnet8", {"in_chans": 1}) is None
