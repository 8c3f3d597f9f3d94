import os

import pytest
import torch

from convgate.errors import InputError
from convgate.train.annotated import TargetKinds

PATH = os.environ.get("CONVGATE_PENNFUDAN", "")


def test_boxes_are_those_of_the_masks(make_pennfudan, opened):
    data = opened("pennfudan", make_pennfudan(), kinds=TargetKinds(masks=True))
    assert data.classes == ("pedestrian",)
    assert (data.train_images, data.val_images) == (6, 3)
    seen = 0
    for images, targets in (*data.train, *data.val):
        for image, target in zip(images, targets, strict=True):
            assert target["masks"].shape[1:] == image.shape[1:]
            for (left, top, right, bottom), mask in zip(
                target["boxes"].int().tolist(), target["masks"], strict=True
            ):
                inside = torch.zeros_like(mask)
                inside[top:bottom, left:right] = 1
                assert torch.equal(mask, inside)  # the rectangles fill their boxes
                seen += 1
    assert seen == 8  # one picture has no pedestrian, and stays


def test_a_missing_a_foreign_and_a_wrong_mask(make_pennfudan, opened):
    def spoil(files):
        del files["PennFudanPed/PedMasks/P00001_mask.png"]
        files["PennFudanPed/PedMasks/P00002_mask.png"] = b"no picture"
        files["PennFudanPed/PedMasks/P00003_mask.png"] = files["PennFudanPed/PNGImages/P00003.png"]

    path = make_pennfudan(change=spoil)
    with pytest.raises(InputError) as caught:
        opened("pennfudan", path)
    said = str(caught.value)
    assert "3 faults" in said and "--skip-bad" in said
    for part in ("P00001_mask.png is missing", "P00002_mask.png: not a mask", "P00003_mask.png"):
        assert part in said
    data = opened("pennfudan", path, skip_bad=True)
    assert len(data.skipped) == 3
    assert data.train_images + data.val_images == 6


def test_another_zip_is_refused(make_pennfudan, opened):
    with pytest.raises(InputError, match="not the Penn-Fudan pedestrians; expected PNGImages"):
        opened("pennfudan", make_pennfudan(change=lambda files: files.clear()))


@pytest.mark.data
@pytest.mark.skipif(not os.path.exists(PATH), reason="CONVGATE_PENNFUDAN names no file")
def test_the_photographs_themselves(opened):
    """170 photographs and 423 pedestrians, as their readme says."""
    data = opened("pennfudan", PATH, kinds=TargetKinds(masks=True))
    assert (data.train_images, data.val_images, data.skipped) == (120, 50, ())
    annotations = sum(
        len(s.annotations) for b in (data.train, data.val) for s in b.source.images.items
    )
    assert annotations == 423


def test_a_part_of_both_splits(make_pennfudan, opened):
    """Of nine pictures every third is for validation."""
    path = make_pennfudan()
    whole = opened("pennfudan", path)
    part = opened("pennfudan", path, train_count=3, val_count=1)
    assert (whole.train_images, whole.val_images) == (6, 3)
    assert (part.train_images, part.val_images) == (3, 1)
    with pytest.raises(InputError, match="val_count is 4, but there are 3 validation pictures"):
        opened("pennfudan", path, val_count=4)


def test_held_out_pictures_are_training_pictures_that_are_not_trained_on(make_pennfudan, opened):
    path = make_pennfudan()
    whole, part = opened("pennfudan", path), opened("pennfudan", path, held_out=0.34)
    train, held = ({s.file for s in b.source.images.items} for b in (part.train, part.val))
    assert (len(train), len(held)) == (4, 2)
    assert train | held == {s.file for s in whole.train.source.images.items}
