"""What every registered detector takes and gives."""

import pytest
import torch

from convgate.errors import InputError
from convgate.tasks.backbone import create_backbone
from convgate.tasks.detect import DETECTORS, create_detector

MASKS = {"mask_rcnn", "cascade_mask_rcnn"}


@pytest.fixture(params=list(DETECTORS))
def name(request):
    return request.param


@pytest.fixture
def detector(name, tiny):
    torch.manual_seed(0)
    return create_detector(name, tiny.backbone(), num_classes=3, **tiny.narrow[name])


def total(losses):
    return sum(losses.values())


def test_a_training_step_reaches_every_parameter(detector, tiny):
    losses = detector.train()(*tiny.pictures())
    assert losses
    assert all(loss.ndim == 0 and torch.isfinite(loss) for loss in losses.values())
    total(losses).backward()
    without = [name for name, p in detector.named_parameters() if p.grad is None]
    assert without == []
    assert all(torch.isfinite(p.grad).all() for p in detector.parameters())


def test_detections(name, detector, tiny):
    images, targets = tiny.pictures()
    detector.train()(images, targets)  # running statistics that are not those of the start
    with torch.no_grad():
        found = detector.eval()(images)
    assert len(found) == 2
    for image, found_here in zip(images, found, strict=True):
        count = len(found_here["scores"])
        assert found_here["boxes"].shape == (count, 4)
        assert found_here["labels"].dtype == torch.int64
        assert set(found_here["labels"].tolist()) <= {1, 2, 3}
        assert found_here["scores"].tolist() == sorted(found_here["scores"].tolist(), reverse=True)
        x1, y1, x2, y2 = found_here["boxes"].unbind(1)
        height, width = image.shape[1:]
        assert (x1 >= 0).all() and (y1 >= 0).all()
        assert (x2 <= width + 1e-3).all() and (y2 <= height + 1e-3).all()
        assert (name in MASKS) == ("masks" in found_here)
        if name in MASKS:
            assert found_here["masks"].shape == (count, 1, height, width)


def test_images_without_objects_train(detector, tiny):
    images, targets = tiny.pictures()
    empty = [tiny.target(*image.shape[1:]) for image in images]
    for case in ([targets[0], empty[1]], empty):
        losses = detector.train()(images, case)
        assert torch.isfinite(total(losses))
        total(losses).backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in detector.parameters())


def test_boxes_of_one_pixel_train(detector, tiny):
    images, _ = tiny.pictures()
    dots = [
        tiny.target(64, 96, (0, 0, 1, 1, 1), (95, 63, 96, 64, 3)),
        tiny.target(72, 64, (5, 7, 6, 8, 2)),
    ]
    loss = total(detector.train()(images, dots))
    assert torch.isfinite(loss)
    loss.backward()
    assert all(p.grad is None or torch.isfinite(p.grad).all() for p in detector.parameters())


def test_targets_and_images_are_left_as_they_are(detector, tiny):
    images, targets = tiny.pictures()
    detector.train()(images, targets)
    for (image, target), (image_0, target_0) in zip(
        zip(images, targets, strict=True), zip(*tiny.pictures(), strict=True), strict=True
    ):
        assert torch.equal(image, image_0)
        assert all(torch.equal(target[key], target_0[key]) for key in target_0)


def test_a_backbone_with_too_few_maps_is_refused(tiny):
    with torch.device("meta"), pytest.raises(InputError, match="gives 3 feature maps"):
        create_detector("mask_rcnn", create_backbone("wrn28_10"), num_classes=1)


def test_an_unknown_detector_or_option(tiny):
    with pytest.raises(InputError, match="did you mean 'mask_rcnn'"):
        create_detector("maskrcnn", tiny.backbone(), num_classes=1)
    with pytest.raises(InputError, match="unknown option 'min_sise'"):
        create_detector("mask_rcnn", tiny.backbone(), num_classes=1, min_sise=64)
