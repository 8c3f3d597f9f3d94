import errno
import socket

import pytest
import timm
import torch
import torchvision
from huggingface_hub import constants

from convgate.errors import InputError
from convgate.models import (
    ResNetCifar,
    SELNeXt,
    create,
    create_model,
    library_of,
    list_models,
)


def test_builds_ours_timms_and_torchvisions():
    with torch.device("meta"):
        assert isinstance(create_model("selnext_tiny"), SELNeXt)
        assert isinstance(create_model("resnet20", num_classes=7), ResNetCifar)
        assert isinstance(create_model("resnet18"), timm.models.ResNet)
        net = create_model("torchvision/resnet18", num_classes=7)
    assert isinstance(net, torchvision.models.ResNet)
    assert net.fc.out_features == 7


def test_loads_a_checkpoint(tmp_path):
    path = tmp_path / "w.pth"
    first = create_model("resnet8")
    torch.save(first.state_dict(), path)
    second = create_model("resnet8", checkpoint_path=path)
    assert torch.equal(first.fc.weight, second.fc.weight)


@pytest.mark.parametrize(
    ("name", "options", "sentence"),
    [
        ("selnext_tinny", {}, "unknown model 'selnext_tinny'; did you mean 'selnext_tiny'?"),
        ("torchvision/resnet1", {}, "did you mean 'torchvision/resnet1[0-9]+'"),
        ("torchvision/fcn_resnet50", {}, "unknown model 'torchvision/fcn_resnet50'; did you mean"),
        ("nothing like it", {}, "unknown model 'nothing like it'; did you mean '[^,]*'"),
        ("resnet18.none", {}, "resnet18.none: unknown weights tag"),
        ("resnet8", {"gaet": "se"}, "resnet8: unknown option 'gaet'"),
        ("resnet18", {"gaet": "se"}, "resnet18: unknown option 'gaet'"),
        ("torchvision/resnet18", {"gaet": "se"}, "torchvision/resnet18: unknown option 'gaet'"),
        ("selnext_atto", {"gate": "selm"}, "unknown gate 'selm'; did you mean 'seln'?"),
        ("selnext_atto", {"pretrained": True}, "selnext_atto: no pretrained weights exist"),
        ("torchvision/resnet18", {"pretrained": True, "num_classes": 7}, "have 1000 classes"),
    ],
)
def test_bad_names_and_options_are_one_sentence(name, options, sentence):
    with pytest.raises(InputError, match=sentence) as caught:
        create_model(name, **options)
    assert "\n" not in str(caught.value)


def test_unreachable_weights_are_one_sentence(monkeypatch):
    def fail(*_, **__):
        raise ConnectionError("no route to host\nand a long trace")

    monkeypatch.setattr(timm, "create_model", fail)
    with pytest.raises(InputError, match=r"could not be fetched \(no route to host\); connect"):
        create_model("resnet18", pretrained=True)


@pytest.mark.parametrize(("proxies", "offline"), [({}, True), ({"https": "proxy"}, False)])
def test_a_hub_without_an_address_is_not_asked_again_and_again(monkeypatch, proxies, offline):
    def unknown(*_):
        raise socket.gaierror(-2, "Name or service not known")

    def look(*_, **__):
        seen.append(constants.HF_HUB_OFFLINE)
        raise ConnectionError("no route to host")

    seen: list[bool] = []
    monkeypatch.setattr(create.socket, "getaddrinfo", unknown)
    monkeypatch.setattr(create, "getproxies", lambda: proxies)
    monkeypatch.setattr(timm, "create_model", look)
    before = constants.HF_HUB_OFFLINE
    with pytest.raises(InputError, match="could not be fetched"):
        create_model("resnet18", pretrained=True)
    assert seen == [offline or before] and before == constants.HF_HUB_OFFLINE


def test_other_errors_pass_unchanged(monkeypatch):
    def full(*_, **__):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(create.timm, "create_model", full)
    with pytest.raises(OSError, match="No space left") as caught:
        create_model("resnet18", pretrained=True)
    assert not isinstance(caught.value, InputError)


def test_list_models():
    assert list_models("selnext") == [
        "selnext_atto",
        "selnext_base",
        "selnext_small",
        "selnext_tiny",
    ]
    assert list_models("selnext_?mall") == ["selnext_small"]
    assert "torchvision/resnet50" in list_models("resnet50")
    assert len(list_models()) > 1000
    with pytest.raises(InputError, match="did you mean 'selnext_tiny'"):
        list_models("selnext_tinny")


def test_library_of():
    assert library_of("resnet20") == library_of("selnext_atto") == "convgate"
    assert library_of("resnet18") == "timm"
    assert library_of("torchvision/resnet18") == "torchvision"


@pytest.mark.parametrize("options", [{"depth": "x"}, {"depth": -5}, {"drop_rate": 5.0}])
def test_an_option_of_a_wrong_value_is_named(options):
    ((key, value),) = options.items()
    with pytest.raises(InputError, match=f"resnet8: cannot be built with {key}={value!r}"):
        create_model("resnet8", **options)
