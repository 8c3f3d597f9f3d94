import math

import pytest
import torch
from timm.optim import param_groups_layer_decay

from convgate.errors import InputError
from convgate.insertion import insert
from convgate.models import create_model
from convgate.tasks.backbone import create_backbone
from convgate.tasks.detect import create_detector
from convgate.train.groups import layer_scales
from convgate.train.optim import base_rate, create_optimizer, create_schedule
from convgate.train.sections import LrScale, OptimizerSpec, ScheduleSpec


@pytest.fixture(scope="module")
def tiny_depths():
    """ConvNeXt-T's depths 3, 3, 9, 3 and -S's 27 in the third stage, without its widths."""
    with torch.device("meta"):
        return [create_model(f"convnext_{size}", num_classes=0) for size in ("tiny", "small")]


def test_layers_as_convnext_counts_them(tiny_depths):
    """T has 6 layers and S 12: stem 0, stages 1 and 2 one each, then three blocks a layer."""
    hand = {
        "stem.0.weight": 0,
        "stages.0.blocks.2.gamma": 1,
        "stages.1.downsample.1.weight": 2,
        "stages.1.blocks.0.gamma": 2,
        "stages.2.downsample.0.weight": 3,
        "stages.2.blocks.2.gamma": 3,
        "stages.2.blocks.3.gamma": 4,
        "stages.2.blocks.8.gamma": 5,
    }
    for body, last in zip(tiny_depths, (6, 12), strict=True):
        scales = layer_scales(body, 0.7)
        ends = {"stages.3.downsample.1.weight": last, "stages.3.blocks.2.gamma": last}
        for name, layer in (hand | ends).items():
            assert scales[name] == pytest.approx(0.7 ** (last + 1 - layer)), name
    assert layer_scales(tiny_depths[1], 0.7)["stages.2.blocks.26.gamma"] == pytest.approx(0.7**2)


@pytest.mark.parametrize("name", ["swin_tiny_patch4_window7_224", "resnet50", "selnext_atto"])
def test_other_networks_of_four_stages(name):
    with torch.device("meta"):
        scales = layer_scales(create_model(name, num_classes=0), 0.5)
    assert max(scales.values()) == 0.5
    assert len(set(scales.values())) >= 5


def test_a_network_of_other_stages_is_refused():
    with torch.device("meta"):
        body = create_model("mobilenetv2_100", num_classes=0)
    with pytest.raises(InputError, match="is not built of four stages; set it to 1"):
        layer_scales(body, 0.5)


def test_the_detector_comes_first_and_the_schedule_keeps_the_ratios():
    backbone = create_backbone("test_convnext")
    model = create_detector("retinanet", backbone, num_classes=1)
    spec = OptimizerSpec(
        name="sgd", lr=1.0, weight_decay=0.1, layer_decay=0.5, lr_scale=LrScale(backbone=0.2)
    )
    optimizer = create_optimizer(spec, model)
    assert optimizer.param_groups[0]["lr_scale"] == 1
    schedule = create_schedule(
        ScheduleSpec(name="step", epochs=2, milestones=(1,)), optimizer, updates_per_epoch=3
    )
    schedule.step_update(4)
    seen = {id(p): g for g in optimizer.param_groups for p in g["params"]}
    assert len(seen) == len([p for p in model.parameters() if p.requires_grad])
    names = {id(p): name for name, p in model.named_parameters()}
    for key, group in seen.items():
        inside = ".body." in names[key]
        assert group["lr"] == pytest.approx(0.1 * group["lr_scale"])
        assert (group["lr_scale"] < 0.2 + 1e-9) == inside
    stem = seen[id(backbone.body.stem[0].weight)]
    assert stem["lr_scale"] == pytest.approx(0.2 * 0.5 ** (_layers(backbone) + 1))
    assert stem["weight_decay"] == 0.1
    assert seen[id(backbone.body.stem[0].bias)]["weight_decay"] == 0


def _layers(backbone):
    depth = len(backbone.body.stages[2].blocks)
    return 3 + -(-depth // 3)


def scales_of(spec, model):
    """Return the factor and the weight decay of each trained parameter, by its name."""
    groups = create_optimizer(spec, model).param_groups
    found = {id(p): (g["lr_scale"], g["weight_decay"]) for g in groups for p in g["params"]}
    return {n: found[id(p)] for n, p in model.named_parameters() if p.requires_grad}


def test_head_gates_and_backbone_have_rates_of_their_own():
    model = create_model("resnet10t", num_classes=4)
    insert(model, "se")
    scale = LrScale(head=20.0, gates=10.0, backbone=0.5)
    spec = OptimizerSpec(name="sgd", lr=1.0, weight_decay=0.1, lr_scale=scale)
    found = scales_of(spec, model)
    assert found["fc.weight"] == (20, 0.1) and found["fc.bias"] == (20, 0)
    assert found["conv1.0.weight"] == (0.5, 0.1) and found["bn1.weight"] == (0.5, 0)
    gates = {name: value for name, value in found.items() if ".gate." in name}
    assert len(gates) == 4 * 4  # two convolutions with biases
    assert {scale for scale, _ in gates.values()} == {10}
    rest = found.keys() - gates.keys() - {"fc.weight", "fc.bias"}
    assert {found[name][0] for name in rest} == {0.5}


@pytest.mark.parametrize("name", ["resnet10t", "test_convnext", "tf_efficientnet_lite0"])
def test_layers_below_the_head_are_timms_with_gates_or_without(name):
    """A gate is new, whichever layer it stands behind: its rate is not decayed."""
    with torch.device("meta"):
        model = create_model(name, num_classes=4)
    groups = param_groups_layer_decay(model, layer_decay=0.5)
    timms = {id(p): group["lr_scale"] for group in groups for p in group["params"]}
    expected = {name: timms[id(p)] for name, p in model.named_parameters()}
    assert min(expected.values()) < 0.1
    insert(model, "eca")
    spec = OptimizerSpec(name="sgd", lr=1.0, layer_decay=0.5, lr_scale=LrScale(gates=3.0))
    found = {name: scale for name, (scale, _) in scales_of(spec, model).items()}
    assert {name: found[name] for name in expected} == expected
    assert {found[name] for name in found.keys() - expected.keys()} == {3}


def test_the_rates_of_all_parts_follow_the_schedule():
    model = create_model("resnet10t", num_classes=4)
    spec = OptimizerSpec(name="sgd", lr=0.1, lr_scale=LrScale(head=20.0))
    optimizer = create_optimizer(spec, model)
    schedule = create_schedule(
        ScheduleSpec(name="cosine", epochs=2, warmup_epochs=1), optimizer, updates_per_epoch=10
    )
    falling = 0.1 * (1 + math.cos(math.pi * 15 / 20)) / 2
    for update, rate in ((5, 0.05), (15, falling)):  # in the warm-up, in the cosine
        schedule.step_update(update)
        assert base_rate(optimizer) == pytest.approx(rate)
        rates = {id(p): g["lr"] for g in optimizer.param_groups for p in g["params"]}
        assert rates[id(model.fc.weight)] == pytest.approx(20 * rate)
        assert rates[id(model.conv1[0].weight)] == pytest.approx(rate)


def test_networks_without_layers_or_head():
    layers = OptimizerSpec(name="sgd", lr=1.0, layer_decay=0.5)
    with pytest.raises(InputError, match="ResNet does not name its layers; use a network of timm"):
        create_optimizer(layers, create_model("torchvision/resnet18"))
    head = OptimizerSpec(name="sgd", lr=1.0, lr_scale=LrScale(head=2.0))
    with pytest.raises(InputError, match="its head cannot be told from its backbone"):
        create_optimizer(head, torch.nn.Conv2d(1, 1, 1))
