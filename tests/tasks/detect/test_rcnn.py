"""What the detectors with a head on proposals share: the sizes that make them light."""

import pytest

from convgate.tasks.detect import create_detector

NAMES = ("cascade_mask_rcnn", "faster_rcnn", "mask_rcnn")


def light(name, tiny, **options):
    options = tiny.narrow[name] | options
    return create_detector(name, tiny.backbone(), num_classes=3, **options)


@pytest.mark.parametrize("name", NAMES)
def test_rois_per_image_reach_the_box_head(name, tiny):
    model = light(name, tiny, rois_per_image=8)
    seen = []
    head = getattr(model.roi_heads, "stages", [model.roi_heads])[0].box_head
    head.register_forward_hook(lambda module, given, made: seen.append(len(made)))
    model.train()(*tiny.pictures())
    assert seen == [2 * 8]


@pytest.mark.parametrize("name", (*NAMES, "retinanet"))
def test_the_pyramid_and_all_on_it_take_the_width(name, tiny):
    model = light(name, tiny, pyramid_width=32)
    maps = model.backbone(tiny.pictures()[0][0][None])
    assert {x.shape[1] for x in maps.values()} == {32}
    assert sum(model.train()(*tiny.pictures()).values()) > 0


def test_the_mask_head_takes_the_width(tiny):
    model = light("mask_rcnn", tiny, pyramid_width=32)
    head, predictor = model.roi_heads.mask_head, model.roi_heads.mask_predictor
    assert sum(p.numel() for p in head.parameters()) == 4 * (32 * 32 * 9 + 32)
    assert predictor.conv5_mask.weight.shape == (32, 32, 2, 2)
