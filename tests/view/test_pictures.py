"""Every kind of picture is streamed, and prepared as elsewhere."""

from dataclasses import replace

import pytest
import torch
from PIL import Image

from convgate.deploy.predict import predict
from convgate.errors import CorruptFile, InputError
from convgate.networks import Preprocessing, open_network
from convgate.pictures.folders import find_pictures
from convgate.view import compare_maps, stream


def square(px):
    """Return how training of this package cuts pictures."""
    zeros, ones = (0.0,) * 3, (1.0,) * 3
    return Preprocessing(input_size=(3, px, px), mean=zeros, std=ones, resize="square")


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (30, 10)).save(path)
    (pixels,) = stream(find_pictures(path), square(8))
    assert (pixels.shape, pixels.dtype) == ((1, 3, 8, 8), torch.uint8)


def test_the_camera_s_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (20, 10), "white")
    image.paste("black", (0, 0, 10, 10))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: to be turned by 90 degrees clockwise
    image.save(tmp_path / "a.png", exif=exif)
    (pixels,) = stream(find_pictures(tmp_path / "a.png"), square(10))
    upright = find_pictures(tmp_path / "a.png").load(0)
    assert upright.size == (10, 20)
    assert upright.getpixel((5, 2)) == (0, 0, 0)
    assert upright.getpixel((5, 17)) == (255, 255, 255)
    assert pixels.shape == (1, 3, 10, 10)


def test_batches_hold_every_picture_once_and_say_how_far_they_are(folder):
    told = []
    pictures = find_pictures(folder)
    note = {"on_progress": lambda *words: told.append(words)}
    batches = list(stream(pictures, square(8), batch=4, **note))
    assert [len(batch) for batch in batches] == [4, 2]
    assert told == [("4 of 6 pictures", 4 / 6), ("6 of 6 pictures", 1.0)]
    again = torch.cat(list(stream(pictures, square(8), batch=1)))
    assert torch.equal(torch.cat(batches), again)


def test_damaged_pictures_stop_or_are_left_out(folder):
    bad = folder / "val" / "cat" / "1.png"
    bad.write_bytes(bad.read_bytes()[:40])
    with pytest.raises(CorruptFile, match=r"1\.png: cannot be read as an image"):
        list(stream(find_pictures(folder), square(8)))
    pictures = find_pictures(folder, skip_bad=True)
    assert sum(map(len, stream(pictures, square(8)))) == len(pictures) == 5


def test_an_empty_batch_is_refused(folder):
    with pytest.raises(InputError, match="batch=0"):
        list(stream(find_pictures(folder), square(8), batch=0))


def test_a_view_and_a_prediction_show_a_network_the_same_input(tmp_path):
    """timm's test_resnet resizes to 160 / 0.95 before it crops; training here crops otherwise."""
    net = open_network("test_resnet")
    assert (net.image_px, net.images.crop_pct) == (160, 0.95)
    path = tmp_path / "photo.png"
    Image.effect_noise((300, 230), 90).convert("RGB").save(path)
    x = net.images.batch([path])
    (pixels,) = stream(find_pictures(path), net.images)
    assert torch.equal(net.normalise(pixels), x)
    assert not torch.equal(pixels, next(iter(stream(find_pictures(path), square(160)))))
    ((_, (maps,)),) = compare_maps([net], [("photo", find_pictures(path).load(0))])
    trained = replace(net, card=replace(net.card, weights="drawn by a test"))
    best = predict(trained, path)[0].classes[0]
    assert best.label == net.class_name(maps.scores.predicted)
    assert best.probability == maps.scores.probability
