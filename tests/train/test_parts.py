"""What is trained and what is not: parts counted by hand, frozen tensors compared bit for bit."""

import pytest
import torch
from torch import nn

from convgate.errors import InputError
from convgate.insertion import insert
from convgate.models import create_model
from convgate.tasks.backbone import create_backbone
from convgate.tasks.detect import create_detector
from convgate.train.parts import Parts, freeze, heads_of
from convgate.train.sections import TrainableSpec


def gated():
    """ResNet-10 for four classes with ECA, three weights each, behind its four blocks."""
    model = create_model("resnet10t", num_classes=4)
    insert(model, "eca")
    return model


def counts(model):
    """Return how many numbers of each part are trained."""
    parts, found = Parts(model), {"head": 0, "gates": 0, "norms": 0, "backbone": 0}
    for name, parameter in model.named_parameters():
        if parameter.requires_grad:
            found[parts.of(name.rpartition(".")[0])] += parameter.numel()
    return found


def test_the_parts_of_a_network_by_hand():
    """The head is 512 x 4 + 4; a norm has two numbers a channel, an ECA of k weights k."""
    model = gated()
    norms = [m for m in model.modules() if isinstance(m, nn.BatchNorm2d)]
    kernels = [m.kernel_size[0] for m in model.modules() if isinstance(m, nn.Conv1d)]
    found = counts(model)
    assert found["head"] == 512 * 4 + 4
    assert found["gates"] == sum(kernels)
    assert found["norms"] == 2 * sum(norm.num_features for norm in norms)
    assert sum(found.values()) == sum(p.numel() for p in model.parameters())


@pytest.mark.parametrize("parts", [("head",), ("head", "gates", "norms"), ("norms",), ("gates",)])
def test_what_is_not_named_is_not_trained(parts):
    model = gated()
    whole = counts(model)
    freeze(model, TrainableSpec(parts=parts))
    assert counts(model) == {part: n if part in parts else 0 for part, n in whole.items()}


def test_the_backbone_has_its_norms():
    model = gated()
    whole = counts(model)
    freeze(model, TrainableSpec(parts=("backbone",)))
    assert counts(model) == whole | {"head": 0, "gates": 0}


def trained_names(model):
    return {name for name, p in model.named_parameters() if p.requires_grad}


def test_frozen_stages_take_the_stem_along_and_leave_the_gates():
    """timm's ResNet counts its stem as the first feature stage, layer1 as the second."""
    model = gated()
    still = freeze(model, TrainableSpec(frozen_stages=2))
    names = trained_names(model)
    early = [n for n, _ in model.named_parameters() if n.startswith(("conv1", "bn1", "layer1"))]
    assert {n for n in names if n.startswith(("conv1", "bn1", "layer1"))} == {
        name for name in early if ".gate." in name
    }
    assert all(n in names for n, _ in model.named_parameters() if n.startswith("layer2"))
    assert "layer1.0.bn1" in still and "layer2.0.bn1" not in still
    assert not any("gate" in path for path in still)


def test_frozen_statistics_are_those_of_the_backbones_norms():
    model = create_model("resnet10t", num_classes=4)
    insert(model, "ca")  # has a batch norm of its own
    still = freeze(model, TrainableSpec(frozen_statistics=True))
    norms = [n for n, m in model.named_modules() if isinstance(m, nn.BatchNorm2d)]
    assert sorted(still) == sorted(name for name in norms if ".gate" not in name)
    assert all(p.requires_grad for p in model.parameters())


def test_a_frozen_backbone_keeps_no_dropout_but_the_heads():
    """ConvNeXt's head holds a norm, a dropout and the classifier; its blocks drop paths."""
    model = create_model("test_convnext", num_classes=3, drop_rate=0.5, drop_path_rate=0.5)
    still = freeze(model, TrainableSpec(parts=("head",)))
    assert trained_names(model) == {"head.fc.weight", "head.fc.bias"}
    dropping = {path for path, m in model.named_modules() if type(m).__name__ == "DropPath"}
    assert dropping and dropping <= set(still)
    assert not {"", "head", "head.drop", "head.fc"} & set(still)


@pytest.mark.parametrize(
    ("name", "head"),
    [
        ("resnet10t", "fc"), ("test_convnext", "head.fc"), ("tf_efficientnet_lite0", "classifier"),
        ("torchvision/resnet18", "fc"), ("torchvision/mobilenet_v2", "classifier"),
        ("selnext_atto", "head.fc"),
    ],
)  # fmt: skip
def test_heads(name, head):
    with torch.device("meta"):
        assert heads_of(create_model(name)) == (head,)


def test_a_distilled_network_has_two_heads():
    with torch.device("meta"):
        model = create_model("deit_tiny_distilled_patch16_224")
    assert heads_of(model) == ("head", "head_dist")


def test_below_a_detector_the_head_is_all_but_the_body():
    model = create_detector("retinanet", create_backbone("test_convnext"), num_classes=1)
    freeze(model, TrainableSpec(parts=("head",)))
    names = trained_names(model)
    assert names == {n for n, _ in model.named_parameters() if ".body." not in n}
    assert names


def test_bad_input_is_one_sentence():
    with pytest.raises(InputError, match=r"trainable.parts=\['gates'\]: .* add 'head'"):
        freeze(create_model("resnet10t"), TrainableSpec(parts=("gates",)))
    with pytest.raises(InputError, match="frozen_stages=9: ResNet has 5 feature stages"):
        freeze(create_model("resnet10t"), TrainableSpec(frozen_stages=9))
    with pytest.raises(InputError, match="Linear: its head cannot be told from its backbone"):
        freeze(nn.Linear(2, 2), TrainableSpec(parts=("head",)))
    with pytest.raises(InputError, match="the whole backbone is frozen; leave it out"):
        TrainableSpec(parts=("head",), frozen_stages=1)
