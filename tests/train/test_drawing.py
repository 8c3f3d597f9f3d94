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
