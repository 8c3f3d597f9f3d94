import math

import pytest
import torch
from torch import nn
from torchvision.ops import box_iou

from convgate.errors import InputError
from convgate.insertion import insert
from convgate.tasks.backbone import create_backbone
from convgate.tasks.detect import create_detector
from convgate.tasks.detect.yolof import Anchored, decode, shift, shift_objects, uniform_match
from convgate.tasks.detect.yolof_parts import Decoder, DilatedEncoder


@pytest.mark.parametrize(
    ("across", "down"), [(0, 0), (2, 1), (-2, -1), (3, -4), (-5, 4), (9, 0), (0, -9)]
)
def test_each_pixel_moves_and_what_comes_in_has_the_colour(across, down):
    image = torch.rand(3, 4, 5)
    colour = torch.tensor([7.0, 8, 9]).view(3, 1, 1)
    moved = shift(image, across, down, colour)
    for y in range(4):
        for x in range(5):
            inside = 0 <= y - down < 4 and 0 <= x - across < 5
            wanted = image[:, y - down, x - across] if inside else colour.flatten()
            assert torch.equal(moved[:, y, x], wanted)


def test_boxes_are_cut_at_the_border_and_lost_beyond_it():
    target = {
        "boxes": torch.tensor([[0.0, 0, 10, 10], [30, 5, 40, 20], [2, 2, 4, 4]]),
        "labels": torch.tensor([1, 2, 3]),
    }
    found = shift_objects(target, -4, 3, torch.zeros(3, 20, 40))
    assert found["boxes"].tolist() == [[0, 3, 6, 13], [26, 8, 36, 20]]
    assert found["labels"].tolist() == [1, 2]


def yolof(**options):
    backbone = create_backbone("selnext_atto", stem_stride=4, depths=(1, 1, 1, 1))
    return create_detector(
        "yolof", backbone, num_classes=2, min_size=64, max_size=64, **options
    ).transform


def test_half_of_the_resized_training_images_move_with_their_boxes():
    """A white square on black, doubled: its first bright pixel is where the box begins."""
    torch.manual_seed(0)
    transform = yolof(shift_px=8)
    image = torch.zeros(3, 32, 32)
    image[:, 10:20, 12:22] = 1
    target = {"boxes": torch.tensor([[12.0, 10, 22, 20]]), "labels": torch.tensor([1])}
    moved = set()
    for _ in range(60):
        batch, (found,) = transform([image], [target])
        pixels = batch.tensors[0, 0]
        bright = (pixels > (pixels.min() + pixels.max()) / 2).nonzero()
        left, top = int(bright[:, 1].min()), int(bright[:, 0].min())
        assert found["boxes"][0, :2].tolist() == [left, top]
        moved.add((left - 24, top - 20))
    assert (0, 0) in moved and len(moved) > 15
    assert max(abs(step) for pair in moved for step in pair) <= 8
    assert target["boxes"].tolist() == [[12, 10, 22, 20]]  # left as it was
    assert torch.equal(transform.eval()([image])[0].tensors[0], transform([image])[0].tensors[0])


def test_what_comes_in_is_black():
    torch.manual_seed(2)
    transform = yolof(shift_px=8)
    target = {"boxes": torch.tensor([[2.0, 2, 22, 20]]), "labels": torch.tensor([1])}
    black, white = (transform.normalize(torch.full((3, 1, 1), v)) for v in (0.0, 1.0))
    dark = 0
    for _ in range(20):
        batch, _ = transform([torch.ones(3, 32, 32)], [target])
        is_black, is_white = (
            torch.isclose(batch.tensors[0], c, atol=1e-5).all(0) for c in (black, white)
        )
        assert (is_black ^ is_white).all()
        dark += int(is_black.sum())
    assert dark > 1000


def test_no_shift_draws_no_number_and_less_than_none_is_refused():
    transform = yolof()
    before = torch.random.get_rng_state()
    image, target = transform.resize(
        torch.rand(3, 32, 32), {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}
    )
    assert image.shape == (3, 64, 64) and len(target["boxes"]) == 0
    state = torch.random.get_rng_state()
    torch.random.set_rng_state(before)
    torch.rand(3, 32, 32), torch.empty(1).uniform_(0, 1)  # the picture, torchvision's size
    assert torch.equal(torch.random.get_rng_state(), state)
    with pytest.raises(InputError, match="shift_px=-1 must be 0 or more"):
        yolof(shift_px=-1)


def resnet50():
    backbone = create_backbone("resnet50", frozen_norms=True)
    return create_detector("yolof", backbone, num_classes=80)


def trained(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.mark.parametrize(
    ("gate", "options", "millions"),
    [
        (None, {}, "44.11"),
        ("ca", {"reduction": 32, "bias": False, "min_hidden": 1}, "44.60"),
        ("ela_l", {}, "44.34"),
    ],
)
def test_parameters_of_table_6(gate, options, millions):
    """With the backbone's norms frozen; the printed counts leave the group norms of ELA out."""
    with torch.device("meta"):
        model = resnet50()
        if gate:
            report = insert(model, gate, at=model.gate_sites, start="paper", **options)
            assert [row.channels for row in report.rows] == [2048, 512, 512, 512, 512]
    norms = sum(trained(m) for m in model.modules() if isinstance(m, nn.GroupNorm))
    assert f"{(trained(model) - norms) / 1e6:.2f}" == millions


def iou(a, b):
    return box_iou(a[None], b[None]).item()


def distance(a, b):
    """L1, of centre and sides."""
    total = 0.0
    for low, high in ((0, 2), (1, 3)):
        (a1, a2), (b1, b2) = (a[low].item(), a[high].item()), (b[low].item(), b[high].item())
        total += abs((a1 + a2 - b1 - b2) / 2) + abs((a2 - a1) - (b2 - b1))
    return total


def plain_match(predicted, anchors, boxes):
    """Pairs (anchor, object) that learn, and the anchors left out, by loops."""
    ignored = {a for a, p in enumerate(predicted) if any(iou(p, box) > 0.7 for box in boxes)}
    near = [
        (a, g)
        for g, box in enumerate(boxes)
        for candidates in (predicted, anchors)
        for a in sorted(range(len(anchors)), key=lambda a: distance(candidates[a], box))[:4]
    ]
    pairs = [(a, g) for a, g in near if iou(anchors[a], boxes[g]) >= 0.15]
    return sorted(pairs), (ignored | {a for a, _ in near}) - {a for a, _ in pairs}


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("objects", [1, 3])
def test_matching_against_loops(seed, objects):
    generator = torch.Generator().manual_seed(seed)

    def draw(count, side):
        corners = torch.rand(count, 2, generator=generator) * 64
        return torch.cat(
            [corners, corners + side * (0.4 + torch.rand(count, 2, generator=generator))], 1
        )

    anchors, boxes = draw(40, 24), draw(objects, 24)
    predicted = anchors + 3 * torch.randn(40, 4, generator=generator)
    predicted[7:14] = boxes[0] + 0.1 * torch.arange(7)[:, None]  # more good ones than are taken
    found = uniform_match(predicted, anchors, boxes)
    pairs, ignored = plain_match(predicted, anchors, boxes)
    assert sorted(zip(found.anchors.tolist(), found.objects.tolist(), strict=True)) == pairs
    assert set(found.ignored.nonzero().flatten().tolist()) == ignored
    assert ignored & set(range(7, 14))


def test_no_object_matches_nothing():
    anchors = torch.tensor([[0.0, 0, 8, 8]])
    found = uniform_match(anchors, anchors, torch.zeros(0, 4))
    assert found.anchors.tolist() == found.objects.tolist() == []
    assert found.ignored.tolist() == [False]


def test_the_logit_is_that_of_a_product():
    torch.manual_seed(0)
    decoder = Decoder(5, 3).double().eval()
    s, o = torch.randn(1, 15, 2, 4).double(), torch.randn(1, 5, 2, 4).double()
    decoder.to_class.forward = lambda x: s
    decoder.to_object.forward = lambda x: o
    logits, codes = decoder(torch.randn(1, 512, 2, 4).double())
    assert codes.shape == (1, 40, 4)
    p = s.view(1, 5, 3, 2, 4).sigmoid() * o.view(1, 5, 1, 2, 4).sigmoid()
    expected = (p / (1 - p)).log()
    for y in range(2):
        for x in range(4):
            rows = logits[0, (y * 4 + x) * 5 : (y * 4 + x + 1) * 5]
            torch.testing.assert_close(rows.double(), expected[0, :, :, y, x], rtol=1e-4, atol=1e-4)


def test_a_large_logit_has_a_gradient():
    decoder = Decoder(5, 3)
    nn.init.constant_(decoder.to_class.bias, 200.0)
    logits, _ = decoder.eval()(torch.randn(1, 512, 1, 1))
    logits.sum().backward()
    assert torch.isfinite(decoder.to_class.bias.grad).all()


def test_boxes_by_hand():
    anchors = torch.tensor([[0.0, 0, 100, 50]])
    codes = torch.tensor([[0.1, -0.2, math.log(2), math.log(0.5)]])
    expected = torch.tensor([[60.0 - 100, 15 - 12.5, 60 + 100, 15 + 12.5]])
    torch.testing.assert_close(decode(codes, anchors), expected)
    far = decode(torch.tensor([[9.0, -9.0, 0, 0]]), anchors)
    torch.testing.assert_close(far, torch.tensor([[32.0, -32, 132, 18]]))


def test_the_projection_is_linear_and_blocks_add():
    torch.manual_seed(0)
    encoder = DilatedEncoder(16).eval()
    a, b = torch.randn(2, 1, 16, 6, 6).unbind(0)
    zero = encoder.project(torch.zeros_like(a))
    both = encoder.project(a + b) - zero
    torch.testing.assert_close(
        both, encoder.project(a) + encoder.project(b) - 2 * zero, rtol=1e-3, atol=1e-4
    )
    dilations = [
        conv.dilation[0]
        for block in encoder.blocks
        for conv in block.branch
        if isinstance(conv, nn.Conv2d) and conv.kernel_size == (3, 3)
    ]
    assert dilations == [2, 4, 6, 8]
    x = torch.randn(1, 512, 6, 6)
    assert (encoder.blocks[0](x) >= x).all()  # the branch ends with a ReLU


def test_anchors_are_squares_around_the_corner_of_every_cell():
    torch.manual_seed(0)
    backbone = create_backbone("selnext_atto", stem_stride=4, depths=(1, 1, 1, 1))
    model = create_detector("yolof", backbone, num_classes=1).eval()
    (given,) = model.predict(torch.rand(1, 3, 64, 96))
    assert len(given.anchors) == 5 * 2 * 3
    expected = [
        [x - s / 2, y - s / 2, x + s / 2, y + s / 2]
        for y in (0, 32)
        for x in (0, 32, 64)
        for s in (32, 64, 128, 256, 512)
    ]
    assert given.anchors.tolist() == expected


def test_losses_written_out(tiny):
    torch.manual_seed(0)
    anchors = torch.tensor([[0.0, 0, 16, 16], [8, 8, 24, 24], [40, 40, 56, 56], [0, 0, 4, 4]])
    boxes = anchors + torch.tensor([1.0, 1, 2, 3])
    given = Anchored(torch.randn(4, 2), boxes, anchors)
    target = {"boxes": torch.tensor([[2.0, 0, 16, 15]]), "labels": torch.tensor([2])}
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    model = create_detector("yolof", tiny.backbone(), num_classes=2)
    losses = model.losses([given, given], [target, empty])

    # All four are among the four nearest, each way; those that overlap by 0.15 learn twice.
    overlaps = box_iou(anchors, target["boxes"])[:, 0]
    learn = [a for a in range(4) if overlaps[a] >= 0.15]
    assert learn

    def focal(logits, wanted):
        p = logits.sigmoid()
        hit = wanted * p + (1 - wanted) * (1 - p)
        alpha = wanted * 0.25 + (1 - wanted) * 0.75
        return (-alpha * (1 - hit) ** 2 * hit.log()).sum()

    wanted = torch.tensor([[0.0, 1.0]]).repeat(len(learn), 1)
    kinds = focal(given.logits[learn], wanted) + focal(given.logits, torch.zeros(4, 2))
    torch.testing.assert_close(losses["loss_class"], kinds / len(learn))

    def giou(a, b):
        (ax1, ay1, ax2, ay2), (bx1, by1, bx2, by2) = a.tolist(), b.tolist()
        shared = max(min(ax2, bx2) - max(ax1, bx1), 0) * max(min(ay2, by2) - max(ay1, by1), 0)
        union = (ax2 - ax1) * (ay2 - ay1) + (bx2 - bx1) * (by2 - by1) - shared
        hull = (max(ax2, bx2) - min(ax1, bx1)) * (max(ay2, by2) - min(ay1, by1))
        return shared / union - (hull - union) / hull

    box = 2 * sum(1 - giou(boxes[a], target["boxes"][0]) for a in learn) / len(learn)
    assert losses["loss_box"].item() == pytest.approx(box, rel=1e-5)


def test_focal_loss_is_small_at_the_start():
    """The prior of 0.01 keeps the many anchors of the background from drowning the rest."""
    decoder = Decoder(5, 3)
    for layer in (decoder.to_class, decoder.to_object):
        nn.init.zeros_(layer.weight)
    logits, _ = decoder.eval()(torch.randn(1, 512, 2, 2))
    expected = 0.01 * 0.5
    torch.testing.assert_close(logits.sigmoid(), torch.full_like(logits, expected))
