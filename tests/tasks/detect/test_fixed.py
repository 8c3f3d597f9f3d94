"""A detector with fixed work: its layers on a given number of boxes, counted by hand."""

import pytest
import torch

from convgate.measure import count
from convgate.tasks.backbone import create_backbone
from convgate.tasks.detect import create_detector, list_detectors
from convgate.tasks.detect.fixed import FixedWork

CLASSES, WIDTH, H, W = 3, 16, 64, 96


def small(name, **options):
    backbone = create_backbone("selnext_atto", depths=(1, 1, 1, 1), dims=(8, 16, 16, 32))
    return create_detector(name, backbone, num_classes=CLASSES, **options).eval()


def macs(module, *shape):
    return count(module, torch.empty(shape, device="meta")).macs


def cells():
    """Of the maps at strides 2, 4, 8 and 16, and of the one that the pyramid adds."""
    return [(H // s) * (W // s) for s in (2, 4, 8, 16)] + [2 * 3]


@pytest.mark.parametrize(("name", "masked"), [("faster_rcnn", False), ("mask_rcnn", True)])
def test_the_heads_take_a_thousand_proposals_and_a_hundred_masks(name, masked):
    with torch.device("meta"):
        model = small(name, pyramid_width=WIDTH)
    pyramid = macs(model.backbone.bottom, 1, 3, H, W)
    widths = model.backbone.bottom.channels
    fpn = sum((c * WIDTH + 9 * WIDTH**2) * n for c, n in zip(widths, cells(), strict=False))
    rpn = (9 * WIDTH**2 + WIDTH * 3 * (1 + 4)) * sum(cells())
    box = 1000 * (49 * WIDTH * 1024 + 1024**2 + 1024 * 5 * (CLASSES + 1))
    layers = 4 * 196 * 9 * WIDTH**2 + 784 * WIDTH**2 + 784 * WIDTH * (CLASSES + 1)
    expected = pyramid + fpn + rpn + box + 100 * layers * masked
    assert macs(FixedWork(model), 1, 3, H, W) == expected


def test_every_stage_of_a_cascade_counts():
    with torch.device("meta"):
        one, two = (
            small("cascade_mask_rcnn", thresholds=t, pyramid_width=WIDTH, head_norms=False)
            for t in ((0.5,), (0.5, 0.6))
        )
    box = 4 * 49 * 9 * WIDTH**2 + 49 * WIDTH * 1024 + 1024 * 5 * (CLASSES + 1)
    mask = 4 * 196 * 9 * WIDTH**2 + 784 * WIDTH**2 + 784 * WIDTH * (CLASSES + 1)
    both = [macs(FixedWork(model), 1, 3, H, W) for model in (one, two)]
    assert both[1] - both[0] == 1000 * box + 100 * mask


@pytest.mark.parametrize("name", list_detectors())
def test_every_detector_has_fixed_work_and_it_hangs_on_the_image(name):
    torch.manual_seed(0)
    model = FixedWork(small(name, **({"pyramid_width": 4} if "rcnn" in name else {})))
    x = torch.randn(1, 3, H, W)
    with torch.no_grad():
        found, other = model(x), model(x + 1)
    assert all(torch.isfinite(y).all() for y in found)
    assert [y.shape for y in found] == [y.shape for y in other]
    assert not all(torch.equal(a, b) for a, b in zip(found, other, strict=True))


def test_a_box_is_a_whole_map():
    """Averaged over 2 x 2 bins of a map that is one number each quarter, it gives the quarters."""
    model = small("faster_rcnn", pyramid_width=WIDTH)
    quarters = torch.tensor([[1.0, 2], [3, 4]])
    seen = []

    class Head(torch.nn.Module):
        def forward(self, x):
            seen.append(x)
            return torch.zeros(len(x), 1024)

    model.roi_heads.box_head = Head()
    model.roi_heads.box_roi_pool.output_size = (2, 2)
    for level in range(4):
        side = 16 // 2**level * 4
        given = quarters.repeat_interleave(side, 0).repeat_interleave(side, 1)
        maps = {str(i): torch.zeros(2, WIDTH, 8, 8) for i in range(5)}
        maps[str(level)] = given.expand(2, WIDTH, *given.shape)
        model.backbone.forward = lambda x, maps=maps: maps
        FixedWork(model)(torch.zeros(2, 3, H, W))
        boxes = seen[-1][level * 500 : level * 500 + 500]
        assert seen[-1].shape == (2000, WIDTH, 2, 2)
        assert seen[-1].count_nonzero() == boxes.numel()
        inner = (boxes - quarters).abs().max()  # the outermost samples lie half a cell off
        assert inner < 0.2, level
