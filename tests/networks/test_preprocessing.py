"""A picture becomes what training, timm or torchvision made of it."""

import math

import pytest
import timm
import torch
import torchvision
from PIL import Image

from convgate.errors import CorruptFile, InputError
from convgate.models.create import list_models
from convgate.networks.preprocessing import Preprocessing, of_timm, of_torchvision, read_picture
from convgate.pictures.decoding import square, to_tensor
from convgate.train.data.batches import Normalise

MEAN, STD = (0.5, 0.4, 0.3), (0.2, 0.3, 0.4)


@pytest.mark.parametrize("px", [16, 32, 64])
def test_square_is_what_validation_saw(picture, px):
    spec = Preprocessing(input_size=(3, px, px), mean=MEAN, std=STD, resize="square")
    image = read_picture(picture)
    expected, _ = Normalise(MEAN, STD)(to_tensor(square(image, px))[None], None, None, 0)
    torch.testing.assert_close(spec.batch([picture]), expected)


def test_timm_is_timms_own_transform(picture):
    model = timm.create_model("test_resnet")
    config = timm.data.resolve_model_data_config(model)
    expected = timm.data.create_transform(**config)(Image.open(picture).convert("RGB"))
    assert torch.equal(of_timm(model.pretrained_cfg).batch([picture])[0], expected)


def test_torchvision_is_its_own_transform(picture):
    weights = torchvision.models.ResNet18_Weights.DEFAULT
    expected = weights.transforms()(Image.open(picture).convert("RGB"))
    found = of_torchvision("torchvision/resnet18").batch([picture])[0]
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-5)


def test_every_torchvision_size_survives_as_a_share():
    """timm floors size / share, which must give the resized side again."""
    for name in list_models("torchvision/"):
        spec = of_torchvision(name)
        weights = torchvision.models.get_model_weights(name.partition("/")[2]).DEFAULT
        side = weights.transforms().resize_size[0]
        assert math.floor(spec.input_size[1] / spec.crop_pct) == side, name


def test_one_channel_is_grey(picture):
    spec = Preprocessing(input_size=(1, 8, 8), mean=(0.0,), std=(1.0,), resize="square")
    x = spec.batch([picture])
    assert x.shape == (1, 1, 8, 8)
    assert 0 <= float(x.min()) < float(x.max()) <= 1


def test_what_is_no_picture(tmp_path, picture):
    (tmp_path / "text.png").write_text("not a picture")
    with pytest.raises(CorruptFile, match=r"not an image of a known kind.; give another file"):
        read_picture(tmp_path / "text.png")
    with pytest.raises(InputError, match="there is no such file"):
        read_picture(tmp_path / "none.png")


@pytest.mark.parametrize(
    "change",
    [{"input_size": (2, 8, 8)}, {"std": (0.0, 1.0, 1.0)}, {"mean": (0.5,)}, {"crop_pct": 0.0}],
)
def test_numbers_that_describe_no_image(change):
    whole = {"input_size": (3, 8, 8), "mean": MEAN, "std": STD, "resize": "timm"}
    with pytest.raises(InputError):
        Preprocessing(**whole | change)
