"""The detectors that are torchvision's compute what its own do, on the same weights."""

import pytest
import torch
from torchvision.models import detection

from convgate.tasks.backbone import create_backbone
from convgate.tasks.detect import create_detector

BUILDERS = {
    "faster_rcnn": detection.fasterrcnn_resnet50_fpn,
    "mask_rcnn": detection.maskrcnn_resnet50_fpn,
    "retinanet": detection.retinanet_resnet50_fpn,
}
CLASSES = 3


@pytest.mark.parametrize(
    ("name", "published"),
    [("faster_rcnn", 41_755_286), ("mask_rcnn", 44_401_393), ("retinanet", 34_014_999)],
)
def test_parameters_of_the_published_weights(name, published):
    """Their heads have 91 outputs; the norms of their backbones are frozen."""
    with torch.device("meta"):
        backbone = create_backbone("resnet50", frozen_norms=True)
        model = create_detector(name, backbone, num_classes=91 - (name != "retinanet"))
    assert sum(p.numel() for p in model.parameters() if p.requires_grad) == published


def twins(name, tiny):
    """Ours and torchvision's on ResNet-50, ours with the weights of theirs."""
    background = name != "retinanet"
    torch.manual_seed(0)
    theirs = BUILDERS[name](
        weights=None,
        weights_backbone=None,
        num_classes=CLASSES + background,
        min_size=64,
        max_size=96,
    )
    ours = create_detector(
        name, create_backbone("resnet50"), num_classes=CLASSES, min_size=64, max_size=96
    )
    weights = {
        key.replace("backbone.body.", "backbone.bottom.body."): value
        for key, value in theirs.state_dict().items()
    }
    ours.load_state_dict(weights)
    return ours, theirs


@pytest.mark.slow
@pytest.mark.parametrize("name", list(BUILDERS))
def test_losses_and_detections_are_those_of_torchvision(name, tiny):
    ours, theirs = twins(name, tiny)
    images, targets = tiny.pictures()
    shift = int(name == "retinanet")
    shifted = [{**target, "labels": target["labels"] - shift} for target in targets]
    torch.manual_seed(1)
    expected = theirs.train()(images, shifted)
    torch.manual_seed(1)
    losses = ours.train()(images, targets)
    assert losses.keys() == expected.keys()
    for key in expected:
        torch.testing.assert_close(losses[key], expected[key], rtol=1e-4, atol=1e-5)
    with torch.no_grad():
        found, wanted = ours.eval()(images), theirs.eval()(images)
    for image, image_0 in zip(found, wanted, strict=True):
        torch.testing.assert_close(image["boxes"], image_0["boxes"], rtol=1e-3, atol=1e-2)
        torch.testing.assert_close(image["scores"], image_0["scores"], rtol=1e-3, atol=1e-4)
        assert torch.equal(image["labels"], image_0["labels"] + shift)
