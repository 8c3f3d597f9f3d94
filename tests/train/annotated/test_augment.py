"""Whatever happens to a picture, its boxes stay on its bright rectangles."""

import pytest
import torch
from torch import Tensor

from convgate.train.annotated import ObjectAugmentSpec, TargetKinds
from convgate.train.annotated.augment import mosaic


def bright(image):
    """Return the mask of the rectangles, which are the only yellow."""
    return (image[0] > 0.5) & (image[2] < 0.4) & (image[1] > 0.5)


def box_of(mask):
    rows, columns = mask.nonzero().unbind(1)
    ends = (columns.min(), rows.min(), columns.max() + 1, rows.max() + 1)
    return torch.stack(ends).float()


SPECS = {
    "none": ObjectAugmentSpec(name="none"),
    "crop": ObjectAugmentSpec(name="crop", sides=(60, 80), crop_px=(40, 70)),
    "mosaic": ObjectAugmentSpec(name="mosaic", window_px=64, scale=(0.9, 1.2), mosaic=1.0),
}


@pytest.mark.parametrize("name", SPECS)
def test_masks_follow_the_pixels_and_boxes_the_masks(make_pennfudan, opened, name):
    path = make_pennfudan()
    data = opened(
        "pennfudan", path, augment=SPECS[name], kinds=TargetKinds(masks=True), batch_size=6
    )
    seen = 0
    for epoch in range(4):
        data.train.set_epoch(epoch)
        ((images, targets),) = data.train
        for image, target in zip(images, targets, strict=True):
            assert type(target["boxes"]) is Tensor
            assert (target["boxes"][:, 2:] - target["boxes"][:, :2] >= 1).all()
            masks = target["masks"].bool()
            union = masks.any(0) if len(masks) else torch.zeros(image.shape[1:]).bool()
            wrong = (union != bright(image)).float().mean()
            assert wrong < 0.03  # edges are interpolated, or rounded
            for box, mask in zip(target["boxes"], masks, strict=True):
                if name != "mosaic":  # there the box of a turned box is larger
                    assert (box - box_of(mask)).abs().max() <= 2
                    seen += 1
                elif mask.any():  # of one at the border, the pixels may be cut off
                    found = box_of(mask)
                    assert (found[:2] >= box[:2] - 2).all() and (found[2:] <= box[2:] + 2).all()
                    seen += 1
    assert seen > 12


def test_pictures_are_a_function_of_seed_epoch_and_index(make_pennfudan, opened):
    path = make_pennfudan()

    def boxes(epoch, **options):
        data = opened("pennfudan", path, augment=ObjectAugmentSpec(name="ssd"), **options)
        data.train.set_epoch(epoch)
        before = torch.random.get_rng_state()
        found = [target["boxes"] for _, targets in data.train for target in targets]
        assert torch.equal(torch.random.get_rng_state(), before)
        return found

    first, again, later = boxes(1), boxes(1), boxes(2)
    assert all(torch.equal(a, b) for a, b in zip(first, again, strict=True))
    assert any(
        a.shape != b.shape or not torch.equal(a, b) for a, b in zip(first, later, strict=True)
    )


def test_a_mosaic_without_change_lays_four_pictures_around_a_point(monkeypatch):
    """Centre, angle, shift and shear drawn as the middle of their range: the canvas's centre."""
    from torchvision import tv_tensors

    def middle(shape):
        return torch.full((shape,) if isinstance(shape, int) else shape, 0.5)

    monkeypatch.setattr(torch, "rand", middle)
    colours = (10, 20, 30, 40)
    samples = [
        {
            "image": tv_tensors.Image(torch.full((3, 8, 4), colour, dtype=torch.uint8)),
            "boxes": tv_tensors.BoundingBoxes([[0.0, 0, 4, 8]], format="XYXY", canvas_size=(8, 4)),
            "labels": torch.tensor([i + 1]),
        }
        for i, colour in enumerate(colours)
    ]
    made = mosaic(samples, 16, (1.0, 1.0))
    assert made["image"].shape == (3, 16, 16)
    # each picture is scaled to 8 x 16, and touches the centre (16, 16) of a canvas of 32, of
    # which the middle 16 x 16 remain
    expected = torch.zeros(16, 16, dtype=torch.uint8)
    expected[:8, :8], expected[:8, 8:], expected[8:, :8], expected[8:, 8:] = colours
    assert torch.equal(made["image"][0].as_subclass(Tensor), expected)
    assert made["labels"].tolist() == [1, 2, 3, 4]
    corners = [[0, 0, 8, 8], [8, 0, 16, 8], [0, 8, 8, 16], [8, 8, 16, 16]]
    assert made["boxes"].as_subclass(Tensor).clamp(0, 16).tolist() == corners


def test_the_closing_epochs_have_no_mosaic(make_pennfudan, opened):
    """A mosaic of 64 pixels a side; a single picture keeps its own size."""
    path = make_pennfudan()
    data = opened(
        "pennfudan", path, augment=SPECS["mosaic"], kinds=TargetKinds(single_from=2), batch_size=6
    )
    for epoch, mosaics in ((0, True), (1, True), (2, False), (3, False)):
        data.train.set_epoch(epoch)
        ((images, _),) = data.train
        assert {image.shape == (3, 64, 64) for image in images} == {mosaics}


def test_a_window_pads_with_pixels_that_do_not_count(make_pennfudan, opened):
    augment = ObjectAugmentSpec(name="window", window_px=80, scale=(0.5, 0.5))
    data = opened("pennfudan", make_pennfudan(), augment=augment, kinds=TargetKinds(pixels=True))
    x, classes = next(iter(data.train))
    assert x.shape == (2, 3, 80, 80) and classes.shape == (2, 80, 80)
    assert classes.dtype == torch.int64
    assert set(classes.unique().tolist()) <= {0, 1, 255}
    assert int((classes != 255).sum()) <= 2 * 20 * 24
