"""Predictions: the eager network's own, from a run, a hub folder or a file; by any task."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from PIL import Image

from convgate.deploy import Predictor, open_predictor, predict
from convgate.errors import CorruptFile, InputError
from convgate.networks import Card, DetectorSpec, Preprocessing, save_hub
from convgate.train.drawing import Found


def test_the_five_most_probable_classes(small, picture, tmp_path):
    about, model = small()
    save_hub(model, about, tmp_path / "hub")
    (found,) = predict(tmp_path / "hub", [picture])
    with torch.no_grad():
        odds = model(about.images.batch([picture])).double().softmax(1)[0]
    order = sorted(range(6), key=lambda place: -odds[place])[:5]
    assert [guess.label for guess in found.classes] == [about.classes[place] for place in order]
    for guess, place in zip(found.classes, order, strict=True):
        assert guess.probability == pytest.approx(float(odds[place]), rel=1e-5)
    assert found.to_dict()["image"] == str(picture)


def test_a_run_predicts_and_every_picture_has_its_row(run, picture):
    folder, model = run
    opened = open_predictor(folder)
    found = predict(opened, [picture] * 20)
    assert len(found) == 20
    x = opened.images.batch([picture])
    assert found[19].classes[0].label == str(int(model(x).argmax()))
    assert str(found).count(picture.name) == 20


def test_a_name_writes_nothing_but_itself(run, picture, tmp_path):
    odd = picture.rename(tmp_path / "a\x1b[31m\nconvgate: all is well.png")
    found = predict(run[0], odd)
    assert found[0].image == str(odd)
    assert r"a\x1b[31m\nconvgate: all is well.png" in str(found)


def test_a_folder_and_an_archive_give_what_their_files_give(run, make_tree, make_zip):
    folder, _ = run
    tree = make_tree(train=1, val=2)
    files = sorted(tree.rglob("*.png"))
    alone = {str(seen.image): seen.classes for seen in predict(folder, files)}
    inside = {str(seen.image): seen.classes for seen in predict(folder, tree)}
    assert inside == alone and len(alone) == 9
    packed = predict(folder, make_zip(tree))
    assert [seen.classes for seen in packed] == [inside[name] for name in sorted(inside)]


def test_unnamed_classes_have_numbers(small, picture):
    about, model = small()
    card = Card(model="resnet8", images=about.images, weights="drawn")
    (found,) = predict(Predictor(model, card, "net"), [picture])
    assert found.classes[0].label.startswith("class ")


def test_what_cannot_be_predicted_with(small, picture, tmp_path):
    _, model = small()
    with pytest.raises(InputError, match="does not say how to prepare a picture"):
        predict(Predictor(model, Card(model="resnet8", weights="drawn"), "net"), [picture])
    with pytest.raises(InputError, match="there is no such file or folder"):
        open_predictor(tmp_path / "none.onnx")
    with pytest.raises(InputError, match="its weights are random, so it has nothing to say"):
        predict("resnet8", [picture])
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="holds no picture"):
        predict(Predictor(model, Card(weights="drawn"), "net"), tmp_path / "empty")
    with pytest.raises(InputError, match="a classifier draws nothing"):
        predict(Predictor(model, Card(weights="drawn"), "net"), picture, out=tmp_path / "o")


def test_synsets_are_shown_in_words(small, picture):
    about, model = small()
    about = replace(about, classes=("n02099601", *about.classes[1:]))
    (found,) = predict(Predictor(model, about, "net"), [picture])
    names = {guess.label for guess in found.classes}
    assert names & {"golden retriever", *about.classes[1:]} == names
    odds = model(about.images.batch([picture]))[0]
    assert ("golden retriever" in names) == (int(odds.argmin()) != 0)


class Known(torch.nn.Module):
    """Finds one sure and one doubtful box in every picture, with masks."""

    def forward(self, images):
        (image,) = images
        height, width = image.shape[1:]
        masks = torch.zeros(2, 1, height, width)
        masks[0, 0, : height // 2] = 1
        return [{
            "boxes": torch.tensor([[0.0, 0, width / 2, height / 2], [1, 1, 2, 2]]),
            "labels": torch.tensor([1, 1]),
            "scores": torch.tensor([0.9, 0.2]),
            "masks": masks,
        }]  # fmt: skip


@pytest.fixture
def stored():
    size = (3, 40, 40)
    images = Preprocessing(input_size=size, mean=(0.0,) * 3, std=(1.0,) * 3, resize="shrink")
    card = Card(
        task="detect",
        model="resnet10t",
        detector=DetectorSpec(name="mask_rcnn"),
        classes=("pedestrian",),
        weights="trained",
        images=images,
    )
    return Predictor(Known(), card, "run")


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "street.png"
    Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(path)
    return path


def test_boxes_are_those_of_the_file_and_the_drawing_shows_them(stored, photo, tmp_path):
    """The picture of 80 x 60 is read at 40 x 30; the box is given at 80 x 60."""
    (seen,) = predict(stored, [photo], out=tmp_path / "out")
    assert seen.objects == (Found("pedestrian", pytest.approx(0.9), (0, 0, 40, 30)),)
    assert seen.drawing == tmp_path / "out" / "street.png"
    with Image.open(seen.drawing) as drawn:
        pixels = np.asarray(drawn)
    assert pixels.shape == (30, 40, 3)
    assert (pixels[28, 35] == 90).all()  # outside box and mask
    assert (pixels[13, 30] != 90).any()  # in the mask
    everything = predict(stored, [photo], threshold=0.1)
    assert len(everything[0].objects) == 2 and everything[0].drawing is None
    assert everything[0].to_dict()["objects"][0]["label"] == "pedestrian"


def test_pictures_of_one_name_do_not_replace_each_other(stored, photo, tmp_path):
    other = tmp_path / "b" / "street.png"
    other.parent.mkdir()
    other.write_bytes(photo.read_bytes())
    seen = predict(stored, [photo, other, photo], out=tmp_path / "out")
    assert [s.drawing.name for s in seen] == ["street.png", "street-2.png", "street-3.png"]
    with pytest.raises(InputError, match="the drawing would replace the picture"):
        predict(stored, [photo], out=tmp_path)


def test_a_lone_picture_may_name_its_drawing(stored, photo, tmp_path):
    drawing = tmp_path / "new" / "seen.png"
    (seen,) = predict(stored, [photo], out=drawing)
    assert seen.drawing == drawing and drawing.is_file()
    with pytest.raises(InputError, match=r"seen\.png: exists already"):
        predict(stored, [photo], out=drawing)
    again = predict(stored, [photo], out=drawing, force=True)
    assert again[0].drawing == drawing  # drawn anew
    with pytest.raises(InputError, match=r"seen\.png: one file for 2 pictures; name a folder"):
        predict(stored, [photo, photo], out=drawing)
    with pytest.raises(InputError, match="the drawing would replace the picture"):
        predict(stored, [photo], out=photo)


def test_what_cannot_be_read_is_told_before_anything_is_drawn(stored, photo, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"none\.png: no such folder, zip archive or picture"):
        predict(stored, [photo, tmp_path / "none.png"], out=out)
    (tmp_path / "torn.png").write_bytes(photo.read_bytes()[:60])
    with pytest.raises(CorruptFile, match=r"torn\.png: cannot be read as an image"):
        predict(stored, [photo, tmp_path / "torn.png"], out=out)
    assert not out.exists()
    out.write_text("")
    with pytest.raises(InputError, match="is a file; choose a folder"):
        predict(stored, [photo], out=out)
