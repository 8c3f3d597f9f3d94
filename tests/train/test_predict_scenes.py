import numpy as np
import pytest
import torch
from PIL import Image

from convgate.errors import CorruptFile, InputError
from convgate.train import predict_scenes as module
from convgate.train.drawing import Found, draw_classes, draw_objects
from convgate.train.predict_scenes import predict_scenes
from convgate.train.recipe import load_recipe, override
from convgate.train.trained import Trained


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
def stored(tmp_path, monkeypatch):
    monkeypatch.setattr(module, "build_scene_model", lambda recipe, num_classes: Known())
    recipe = override(load_recipe("pennfudan/mask_rcnn"), "data.image_px=40")
    return Trained(
        path=tmp_path / "weights.safetensors",
        recipe=recipe,
        classes=("pedestrian",),
        in_chans=3,
        weights={},
    )


@pytest.fixture
def photo(tmp_path):
    path = tmp_path / "street.png"
    Image.fromarray(np.full((60, 80, 3), 90, np.uint8)).save(path)
    return path


def test_boxes_are_those_of_the_file_and_the_drawing_shows_them(stored, photo, tmp_path):
    """The picture of 80 x 60 is read at 40 x 30; the box is given at 80 x 60."""
    (seen,) = predict_scenes(stored, [photo], tmp_path / "out")
    assert seen.found == (Found("pedestrian", pytest.approx(0.9), (0, 0, 40, 30)),)
    assert seen.drawing == tmp_path / "out" / "street.png"
    with Image.open(seen.drawing) as drawn:
        pixels = np.asarray(drawn)
    assert pixels.shape == (30, 40, 3)
    assert (pixels[28, 35] == 90).all()  # outside box and mask
    assert (pixels[13, 30] != 90).any()  # in the mask
    everything = predict_scenes(stored, [photo], threshold=0.1)
    assert len(everything[0].found) == 2 and everything[0].drawing is None
    assert everything[0].to_dict()["found"][0]["label"] == "pedestrian"


def test_pictures_of_one_name_do_not_replace_each_other(stored, photo, tmp_path):
    other = tmp_path / "b" / "street.png"
    other.parent.mkdir()
    other.write_bytes(photo.read_bytes())
    seen = predict_scenes(stored, [photo, other, photo], tmp_path / "out")
    assert [s.drawing.name for s in seen] == ["street.png", "street-2.png", "street-3.png"]
    with pytest.raises(InputError, match="the drawing would replace the picture"):
        predict_scenes(stored, [photo], tmp_path)


def test_a_lone_picture_may_name_its_drawing(stored, photo, tmp_path):
    drawing = tmp_path / "new" / "seen.png"
    (seen,) = predict_scenes(stored, [photo], drawing)
    assert seen.drawing == drawing and drawing.is_file()
    assert predict_scenes(stored, [photo], drawing)[0].drawing == drawing  # drawn anew
    with pytest.raises(InputError, match=r"seen\.png: one file for 2 pictures; name a folder"):
        predict_scenes(stored, [photo, photo], drawing)
    with pytest.raises(InputError, match="the drawing would replace the picture"):
        predict_scenes(stored, [photo], photo)


def test_what_cannot_be_read_is_told_before_anything_is_drawn(stored, photo, tmp_path):
    out = tmp_path / "out"
    with pytest.raises(InputError, match=r"none\.png: there is no such picture"):
        predict_scenes(stored, [photo, tmp_path / "none.png"], out)
    (tmp_path / "torn.png").write_bytes(photo.read_bytes()[:60])
    with pytest.raises(CorruptFile, match=r"torn\.png: cannot be read as an image"):
        predict_scenes(stored, [photo, tmp_path / "torn.png"], out)
    assert not out.exists()
    out.write_text("")
    with pytest.raises(InputError, match="is a file; choose a folder"):
        predict_scenes(stored, [photo], out)


def test_a_class_keeps_its_colour_and_a_lone_one_takes_turns():
    image = Image.new("RGB", (100, 100))
    boxes = [Found(name, 0.5, (10, 30 + 30 * i, 90, 50 + 30 * i)) for i, name in enumerate("ab")]

    def outlines(found, classes):
        drawn = draw_objects(image, found, None, classes)
        return [drawn.getpixel((90, int(f.box[3]))) for f in found]

    pair = outlines(boxes, ("a", "b"))
    assert pair[0] != pair[1]
    assert outlines(boxes[1:], ("a", "b")) == pair[1:]
    same = [Found("a", 0.5, f.box) for f in boxes]
    assert len(set(outlines(same, ("a", "b")))) == 1
    assert len(set(outlines(same, ("a",)))) == 2


def test_a_name_at_the_right_edge_is_whole():
    """The same plate left and right: as much of its colour in either picture."""
    image = Image.new("RGB", (200, 100))

    def inked(left):
        found = [Found("pedestrian", 0.5, (left, 50, left + 20, 90))]
        return (np.asarray(draw_objects(image, found, None, ("pedestrian",)))[:48] > 0).any(2).sum()

    assert inked(179) == inked(20) > 500


def test_the_background_stays_clear():
    image = Image.new("RGB", (4, 4), (10, 20, 30))
    classes = torch.zeros(4, 4, dtype=torch.int64)
    classes[2:] = 3
    drawn = draw_classes(image, classes)
    assert drawn.getpixel((0, 0)) == (10, 20, 30) != drawn.getpixel((0, 3))
