import pytest
import torch

from convgate.errors import InputError
from convgate.models import create_model
from convgate.tasks.backbone import create_backbone
from convgate.tasks.detect import create_detector
from convgate.train.optim import create_optimizer, create_schedule, layer_scales
from convgate.train.sections import OptimizerSpec, ScheduleSpec


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
    spec = OptimizerSpec(name="sgd", lr=1.0, weight_decay=0.1, layer_decay=0.5, backbone_scale=0.2)
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


def test_without_a_detector():
    spec = OptimizerSpec(name="sgd", lr=1.0, backbone_scale=0.5)
    with pytest.raises(InputError, match="need a backbone below a detector"):
        create_optimizer(spec, torch.nn.Conv2d(1, 1, 1))
