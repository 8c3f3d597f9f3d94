"""Networks of every kind as backbones: maps as announced, weights kept, parts frozen."""

import pytest
import timm
import torch
from safetensors.torch import save_file
from torch import nn

from convgate.errors import InputError
from convgate.insertion import insert, replace
from convgate.models import create_model
from convgate.tasks.backbone import Backbone, create_backbone

NAMES = [
    "resnet18",
    "convnext_atto",
    "selnext_tiny",
    "hornet_tiny",
    "hornet_tiny_gf",
    "mobilenext",
    "mobilenetv2_100",
    "mobilenetv3_large_100",
    "efficientnet_b0",
    "densenet121",
    "regnety_002",
    "swin_tiny_patch4_window7_224",
    "wrn28_10",
    "resnet50_cifar",
]


def small(**options):
    return create_backbone("selnext_atto", depths=(1, 1, 1, 1), **options)


@pytest.mark.parametrize("name", NAMES)
def test_maps_are_as_announced(name):
    with torch.device("meta"):
        backbone = create_backbone(name)
        maps = backbone.eval()(torch.empty(2, 3, 96, 160))
    assert list(maps) == [str(i) for i in range(len(backbone.channels))]
    for y, channels, stride in zip(maps.values(), backbone.channels, backbone.strides, strict=True):
        assert y.shape == (2, channels, 96 // stride, 160 // stride)
    assert list(backbone.strides) == sorted(set(backbone.strides))


@pytest.mark.parametrize("name", ["resnet18", "selnext_tiny", "mobilenetv3_large_100"])
def test_maps_are_those_of_timm(name):
    torch.manual_seed(0)
    theirs = timm.create_model(name, features_only=True).eval()
    whole = timm.create_model(name).eval()
    names = {key.replace("_", "."): key for key in theirs.state_dict()}
    weights = {k: v for k, v in whole.state_dict().items() if k.replace("_", ".") in names}
    theirs.load_state_dict({names[k.replace("_", ".")]: v for k, v in weights.items()})
    x = torch.randn(1, 3, 64, 96)
    with torch.no_grad():
        ours, expected = Backbone(whole).eval()(x), theirs(x)
    for y, y_0 in zip(ours.values(), expected[-len(ours) :], strict=True):
        torch.testing.assert_close(y, y_0)


def test_swin_takes_images_of_any_size():
    options = {"embed_dim": 24, "depths": (2, 2, 2, 2), "num_heads": (1, 2, 4, 8)}
    backbone = create_backbone("swin_tiny_patch4_window7_224", norm_outputs=True, **options).eval()
    with torch.no_grad():
        maps = backbone(torch.randn(1, 3, 65, 130))
    assert [tuple(y.shape[2:]) for y in maps.values()] == [(17, 33), (9, 17), (5, 9), (3, 5)]
    # At the 224 px it was built for, the last stage has a single window and would never shift.
    assert [tuple(block.shift_size) for block in backbone.body.layers[3].blocks] == [(0, 0), (3, 3)]


def test_norms_on_the_maps_are_over_channels():
    torch.manual_seed(0)
    plain, normed = small(), small(norm_outputs=True)
    normed.body.load_state_dict(plain.body.state_dict())
    for end in normed.ends:
        nn.init.normal_(end.weight)
        nn.init.normal_(end.bias)
    x = torch.randn(2, 3, 32, 48)
    with torch.no_grad():
        for y, y_n, end in zip(plain(x).values(), normed(x).values(), normed.ends, strict=True):
            centred = y - y.mean(1, keepdim=True)
            expected = centred / (centred.square().mean(1, keepdim=True) + 1e-6).sqrt()
            expected = expected * end.weight[:, None, None] + end.bias[:, None, None]
            torch.testing.assert_close(y_n, expected)


def test_a_detector_takes_the_deepest_maps():
    backbone = small().last(2)
    assert backbone.channels == (64, 128)
    assert backbone.strides == (8, 16)
    maps = backbone(torch.randn(1, 3, 32, 32))
    assert [tuple(y.shape) for y in maps.values()] == [(1, 64, 4, 4), (1, 128, 2, 2)]


def test_stages_can_be_named():
    backbone = small(out_indices=(0, 2))
    assert backbone.channels == (16, 64)
    assert not any(key.startswith("stages.3") for key in backbone.body.state_dict())
    for wrong in ((0, 4), (2, 0), (1, 1), ()):
        with pytest.raises(InputError, match="feature stages 0 to 3"):
            small(out_indices=wrong)


def test_what_gives_no_maps_is_refused():
    with torch.device("meta"), pytest.raises(InputError, match="use a network of timm's or ours"):
        create_backbone("torchvision/resnet18")


def test_weights_of_a_classifier_with_another_head(tmp_path):
    classifier = create_model("selnext_atto", depths=(1, 1, 1, 1), num_classes=7)
    save_file(classifier.state_dict(), tmp_path / "weights.safetensors")
    backbone = small(norm_outputs=True, checkpoint_path=tmp_path / "weights.safetensors")
    for key, value in backbone.body.state_dict().items():
        assert torch.equal(value, classifier.state_dict()[key])


def test_gates_keep_their_values_and_gated_weights_need_gates(tmp_path):
    plain = create_model("selnext_atto", depths=(1, 1, 1, 1))
    save_file(plain.state_dict(), tmp_path / "plain.safetensors")
    insert(plain, "se", at="spatial", start="paper", reduction=4)
    save_file(plain.state_dict(), tmp_path / "gated.safetensors")

    gated = small()
    insert(gated, "se", at="spatial", start="paper", reduction=4)
    before = gated.body.stages[0].blocks[0].mlp.fc1.input_gate.excite.weight.clone()
    gated.load(tmp_path / "plain.safetensors")
    assert torch.equal(gated.body.stages[0].blocks[0].mlp.fc1.input_gate.excite.weight, before)
    gated.load(tmp_path / "gated.safetensors")
    assert torch.equal(
        gated.body.stages[0].blocks[0].mlp.fc1.input_gate.excite.weight,
        plain.stages[0].blocks[0].mlp.fc1.input_gate.excite.weight,
    )
    with pytest.raises(InputError, match=r"has the unknown 'stages.0.blocks.0.mlp.fc1.input_gate"):
        small().load(tmp_path / "gated.safetensors")


def test_weights_of_another_network_are_refused(tmp_path):
    path = tmp_path / "weights.safetensors"
    save_file(create_model("selnext_atto", depths=(1, 1, 1, 2)).state_dict(), path)
    with pytest.raises(InputError, match=r"has the unknown 'stages.3.blocks.1"):
        small().load(path)
    save_file(create_model("selnext_atto", depths=(1, 1, 1, 1), stem_stride=1).state_dict(), path)
    with pytest.raises(InputError, match=r"stem.0.weight is"):
        small().load(path)
    save_file({"stem.0.bias": torch.zeros(16)}, path)
    with pytest.raises(InputError, match="lacks"):
        small().load(path)


@pytest.mark.parametrize(
    ("name", "stages", "last_frozen", "first_trained"),
    [
        ("resnet18", 1, "bn1.bias", "layer1.0.conv1.weight"),
        ("resnet18", 2, "layer1.1.bn2.bias", "layer2.0.conv1.weight"),
        ("convnext_atto", 1, "stages.0.blocks.1.mlp.fc2.bias", "stages.1.downsample.0.weight"),
        ("mobilenetv3_large_100", 2, "blocks.1.1.bn3.bias", "blocks.2.0.conv_pw.weight"),
    ],
)
def test_frozen_stages(name, stages, last_frozen, first_trained):
    with torch.device("meta"):
        backbone = create_backbone(name, frozen_stages=stages)
    names = [key for key, _ in backbone.body.named_parameters()]
    grads = [p.requires_grad for p in backbone.body.parameters()]
    assert names[grads.index(True)] == first_trained
    assert names[grads.index(True) - 1] == last_frozen
    assert all(grads[grads.index(True) :])


def test_frozen_statistics_stay_frozen_in_training():
    torch.manual_seed(0)
    backbone = create_backbone("resnet18", frozen_stages=2, frozen_norms=True).train()
    before = {k: v.clone() for k, v in backbone.body.named_buffers()}
    sum(y.mean() for y in backbone(torch.randn(2, 3, 32, 32)).values()).backward()
    assert all(torch.equal(v, before[k]) for k, v in backbone.body.named_buffers())
    trained = {key for key, p in backbone.body.named_parameters() if p.grad is not None}
    assert trained == {
        key
        for key, _ in backbone.body.named_parameters()
        if key.startswith(("layer2", "layer3", "layer4")) and ("conv" in key or "ample.0" in key)
    }


def test_the_norms_of_gates_are_not_frozen():
    body = create_model("resnet18")
    insert(body, "srm", at="block_end")
    backbone = Backbone(body, frozen_norms=True).train()
    gate = next(m for p, m in backbone.body.named_modules() if p == "layer1.0.bn2.gate")
    norm = next(m for m in gate.modules() if isinstance(m, nn.BatchNorm2d))
    assert norm.training and norm.weight.requires_grad
    assert not backbone.body.layer1[0].bn2.weight.requires_grad


def test_gates_go_in_before_and_after():
    x = torch.randn(1, 3, 32, 32)
    before = create_model("mobilenetv3_small_050")
    replace(before, "se", "seln", reduction=4, divisor=8)
    after = create_backbone("mobilenetv3_small_050")
    replace(after, "se", "seln", reduction=4, divisor=8)
    after.body.load_state_dict(Backbone(before).body.state_dict())
    with torch.no_grad():
        ours, theirs = after.eval()(x), Backbone(before).eval()(x)
    assert all(torch.equal(ours[key], theirs[key]) for key in ours)


def test_a_gate_on_the_maps():
    torch.manual_seed(0)
    backbone = small().eval()
    x = torch.randn(1, 3, 32, 32)
    with torch.no_grad():
        plain = backbone(x)
        report = insert(backbone, "se", at="ends.*", start="paper", reduction=4)
        gated = backbone(x)
        assert [row.channels for row in report.rows] == [16, 32, 64, 128]
        for i, key in enumerate(plain):
            torch.testing.assert_close(gated[key], backbone.ends[i].gate(plain[key]))


def test_it_normalises_as_the_network_was_trained():
    with torch.device("meta"):
        assert create_backbone("resnet18").mean == (0.485, 0.456, 0.406)
        assert create_backbone("selnext_atto").mean == (0.485, 0.456, 0.406)
        assert create_backbone("resnet50_cifar").std == (0.2470, 0.2435, 0.2616)
