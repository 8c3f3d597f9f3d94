import numpy as np
import pytest
import torch
from PIL import Image

from convgate.train.drawing import Found, draw_classes, draw_objects

IMAGE = Image.new("RGB", (60, 40), (100, 100, 100))


def test_where_masks_overlap_both_colours_show():
    """Each takes 45 % of what lies below it, by hand for red."""
    masks = torch.zeros(2, 40, 60, dtype=torch.bool)
    masks[0, :, :40], masks[1, :, 20:] = True, True
    found = [Found("a", 1.0, (0, 30, 39, 39)), Found("a", 1.0, (20, 30, 59, 39))]
    drawn = draw_objects(IMAGE, found, masks, ("a",))
    first, both, second = (drawn.getpixel((x, 2)) for x in (10, 30, 50))
    assert first[0] == pytest.approx(0.55 * 100 + 0.45 * 230, abs=1)
    assert second[0] == pytest.approx(0.55 * 100 + 0.45 * 86, abs=1)
    assert both[0] == pytest.approx(0.55 * first[0] + 0.45 * 86, abs=1)


def test_nothing_found_is_a_copy():
    nothing = torch.zeros(0, 40, 60, dtype=torch.bool)
    for drawn in (
        draw_objects(IMAGE, [], nothing, ("a",)),
        draw_objects(IMAGE, [], None, ("a",)),
        draw_classes(IMAGE, torch.zeros(40, 60, dtype=torch.int64)),
    ):
        assert drawn is not IMAGE
        assert drawn.tobytes() == IMAGE.tobytes()


def test_every_class_of_pixels_has_its_tint():
    classes = torch.arange(3).repeat_interleave(20).expand(40, 60)
    drawn = draw_classes(IMAGE, classes)
    colours = [drawn.getpixel((x, 5)) for x in (10, 30, 50)]
    assert colours[0] == (100, 100, 100)
    assert colours[1] == pytest.approx([55 + 0.45 * c for c in (230, 159, 0)], abs=1)
    assert colours[2] == pytest.approx([55 + 0.45 * c for c in (86, 180, 233)], abs=1)


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
