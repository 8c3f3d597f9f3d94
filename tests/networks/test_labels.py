"""ImageNet's names against torchvision's own list of them."""

import torch
from torchvision.models import ResNet18_Weights

from convgate.models import create_model
from convgate.networks import open_network
from convgate.networks.labels import described, imagenet_classes


def test_the_order_is_that_of_torchvisions_weights():
    with torch.device("meta"):
        synsets = imagenet_classes(create_model("resnet18"), "resnet18")
        assert imagenet_classes(create_model("torchvision/resnet18"), "torchvision/resnet18") == (
            synsets
        )
    assert len(synsets) == 1000 and synsets[0] == "n01440764"
    theirs = ResNet18_Weights.DEFAULT.meta["categories"]
    words = [described(synset).lower() for synset in synsets]
    alike = sum(name.lower() in word for name, word in zip(theirs, words, strict=True))
    assert alike > 950  # a few are spelt otherwise
    assert words[0] == "tench, tinca tinca"


def test_other_numbers_of_classes_and_other_names_have_none():
    with torch.device("meta"):
        assert imagenet_classes(create_model("resnet8"), "resnet8") == ()
    assert described("tench") == "tench"
    assert described("n99999999") == "n99999999"


def test_a_checkpoint_of_a_thousand_classes_is_named_and_a_random_head_is_not(tmp_path):
    torch.save(create_model("test_resnet").state_dict(), tmp_path / "net.pth")
    named = open_network("test_resnet", weights=tmp_path / "net.pth")
    assert named.card.classes[207] == "n02099601"
    assert described(named.card.classes[207]) == "golden retriever"
    assert open_network("test_resnet").card.classes == ()
