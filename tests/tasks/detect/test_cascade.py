"""One stage of the cascade is Mask R-CNN's head; more stages by their definition."""

import copy

import pytest
import torch
from torch import nn
from torchvision.models.detection._utils import BoxCoder
from torchvision.models.detection.roi_heads import RoIHeads
from torchvision.ops import box_iou

from convgate.errors import InputError
from convgate.tasks.detect import create_detector
from convgate.tasks.detect.cascade_heads import CascadeRoIHeads

SHAPES = [(64, 96), (80, 64)]
WIDTH = 32  # of the pyramid and of the heads


def sample(tiny, seed=0):
    torch.manual_seed(seed)
    _, targets = tiny.pictures()
    sides = [(96 // s, 96 // s) for s in (4, 8, 16, 32)]
    features = {str(i): torch.randn(2, WIDTH, *side) for i, side in enumerate(sides)}
    proposals = []
    for target, (height, width) in zip(targets, SHAPES, strict=True):
        corners = torch.rand(30, 2) * torch.tensor([width, height]) * 0.5
        boxes = torch.cat([corners, corners + 4 + torch.rand(30, 2) * 30], 1)
        near = target["boxes"].repeat(8, 1) + torch.randn(8 * len(target["boxes"]), 4) * 3
        proposals.append(torch.cat([boxes, near]))
    return features, proposals, targets


@pytest.fixture
def plain(tiny):
    """The heads of torchvision's Mask R-CNN, with weights that decide something."""
    torch.manual_seed(1)
    model = create_detector("mask_rcnn", tiny.backbone(), num_classes=3, pyramid_width=WIDTH)
    heads = model.roi_heads
    nn.init.normal_(heads.box_predictor.cls_score.weight, std=0.2)
    nn.init.normal_(heads.box_predictor.bbox_pred.weight, std=0.05)
    return heads


def test_one_stage_trains_as_mask_rcnn(tiny, plain):
    cascade = CascadeRoIHeads([copy.deepcopy(plain)], [1.0], box_loss="smooth_l1").train()
    features, proposals, targets = sample(tiny)
    torch.manual_seed(2)
    _, expected = plain.train()(features, list(proposals), SHAPES, targets)
    torch.manual_seed(2)
    _, losses = cascade(features, list(proposals), SHAPES, targets)
    assert {f"{key}_1" for key in expected} == losses.keys()
    for key in expected:
        torch.testing.assert_close(losses[f"{key}_1"], expected[key])
    sum(expected.values()).backward()
    sum(losses.values()).backward()
    for ours, theirs in zip(cascade.parameters(), plain.parameters(), strict=True):
        torch.testing.assert_close(ours.grad, theirs.grad)


def test_one_stage_detects_as_mask_rcnn(tiny, plain):
    cascade = CascadeRoIHeads([plain], [1.0]).eval()
    features, proposals, _ = sample(tiny)
    with torch.no_grad():
        expected, _ = plain.eval()(features, proposals, SHAPES)
        found, _ = cascade(features, proposals, SHAPES)
    assert sum(len(image["scores"]) for image in expected) > 10
    for ours, theirs in zip(found, expected, strict=True):
        assert ours.keys() == theirs.keys()
        for key in theirs:
            torch.testing.assert_close(ours[key], theirs[key])


def test_stages_are_those_of_the_paper(tiny):
    with torch.device("meta"):
        heads = create_detector("cascade_mask_rcnn", tiny.backbone(), num_classes=3).roi_heads
    assert heads.weights == (1, 0.5, 0.25)
    matchers = [stage.proposal_matcher for stage in heads.stages]
    assert [m.high_threshold for m in matchers] == [0.5, 0.6, 0.7]
    assert [m.low_threshold for m in matchers] == [0.5, 0.6, 0.7]
    deviations = [[1 / w for w in stage.box_coder.weights] for stage in heads.stages]
    for found, printed in zip(deviations, [(0.1, 0.2), (0.05, 0.1), (0.033, 0.067)], strict=True):
        assert [round(d, 3) for d in found] == [printed[0]] * 2 + [printed[1]] * 2


@pytest.mark.parametrize("scale", [1, 2, 3])
def test_box_coding_round_trips(scale):
    torch.manual_seed(scale)
    coder = BoxCoder((10.0 * scale, 10.0 * scale, 5.0 * scale, 5.0 * scale))
    a, b = (torch.rand(2, 40, 4, dtype=torch.float64) * 50).unbind(0)
    a[:, 2:] += a[:, :2] + 1
    b[:, 2:] += b[:, :2] + 1
    codes = coder.encode_single(a, b)
    width, height = (b[:, 2:] - b[:, :2]).unbind(1)
    shift = ((a[:, 0] + a[:, 2]) - (b[:, 0] + b[:, 2])) / 2 / width * 10 * scale
    torch.testing.assert_close(codes[:, 0], shift)
    torch.testing.assert_close(codes[:, 3], ((a[:, 3] - a[:, 1]) / height).log() * 5 * scale)
    torch.testing.assert_close(coder.decode_single(codes, b), a)


class Told(nn.Module):
    """A box predictor that gives what it was told, whatever it sees."""

    def __init__(self, logits, deltas):
        super().__init__()
        self.told = logits, deltas

    def forward(self, x):
        return tuple(row.repeat(len(x), 1) for row in self.told)


def stage_that_says(plain, logits, shift, factor):
    """A stage whose boxes of class c move by shift[c] widths to the right."""
    deltas = torch.zeros(1, 16)
    deltas[0, 0::4] = 10 * factor * torch.tensor(shift)
    stage = copy.copy(plain)
    stage._modules = dict(plain._modules)
    stage.box_coder = BoxCoder((10.0 * factor, 10.0 * factor, 5.0 * factor, 5.0 * factor))
    stage.box_predictor = Told(torch.tensor([logits]), deltas)
    return stage


def test_boxes_pass_from_stage_to_stage_and_logits_are_averaged(tiny, plain):
    """By hand: class 2 is likeliest in the first stage, class 1 in the second and on average."""
    first = stage_that_says(plain, [0.0, 1.0, 2.0, 0.0], [0.0, 0.5, 0.25, 9.0], 1)
    second = stage_that_says(plain, [0.0, 5.0, 0.0, 0.0], [0.0, 0.5, 0.0, 9.0], 2)
    cascade = CascadeRoIHeads([first, second], [1.0, 0.5]).eval()
    features, _, _ = sample(tiny)
    start = torch.tensor([[8.0, 8, 16, 24]])
    with torch.no_grad():
        found, _ = cascade(features, [start, start[:0]], SHAPES)
    scores = torch.softmax(torch.tensor([0.0, 3.0, 1.0, 0.0]), 0)
    best = found[0]["labels"].tolist().index(1)
    torch.testing.assert_close(found[0]["scores"][best], scores[1])
    # a quarter of 8 px in the first stage, a half in the second
    torch.testing.assert_close(found[0]["boxes"][best], torch.tensor([14.0, 8, 22, 24]))
    assert len(found[1]["boxes"]) == 0


def test_giou_loss_by_hand(tiny, plain):
    cascade = CascadeRoIHeads([plain], [1.0])
    drawn = [torch.tensor([[0.0, 0, 10, 10], [20, 20, 30, 30]])]
    labels = [torch.tensor([2, 0])]
    wanted = torch.tensor([[0.0, 0, 10, 5], [20, 20, 30, 30]])
    codes = [plain.box_coder.encode_single(wanted, drawn[0])]
    logits = torch.tensor([[0.0, 0, 0, 0], [0, 0, 0, 0]])
    kind, box = cascade._box_losses(plain, logits, torch.zeros(2, 16), drawn, labels, codes)
    # One of two boxes is an object's: overlap 1/2, enclosing box no larger than the union.
    torch.testing.assert_close(box, torch.tensor(10 * (1 - 0.5) / 2))
    torch.testing.assert_close(kind, torch.tensor(4.0).log())


def test_later_stages_draw_refined_boxes_and_the_objects_again(tiny, plain, monkeypatch):
    seen = []
    draw = RoIHeads.select_training_samples

    def look(stage, proposals, targets):
        seen.append([boxes.clone() for boxes in proposals])
        return draw(stage, proposals, targets)

    monkeypatch.setattr(RoIHeads, "select_training_samples", look)
    cascade = CascadeRoIHeads([plain, copy.deepcopy(plain)], [1.0, 0.5]).train()
    features, proposals, targets = sample(tiny)
    cascade(features, list(proposals), SHAPES, targets)
    for given, first, second in zip(proposals, *seen, strict=True):
        assert torch.equal(first, given)
        assert len(second) == len(given)  # the objects' own boxes are out again
        assert not second.requires_grad
        assert box_iou(second, given).amax(1).max() < 1


def test_one_box_for_all_classes(tiny):
    model = create_detector(
        "cascade_mask_rcnn", tiny.backbone(), num_classes=3, class_agnostic=True, head_norms=False
    )
    predictor = model.roi_heads.stages[0].box_predictor
    assert predictor.bbox_pred.weight.shape == (4, 1024)
    logits, deltas = predictor(torch.randn(5, 1024))
    assert logits.shape == (5, 4)
    assert torch.equal(deltas[:, :4], deltas[:, 12:])
    assert not any(isinstance(m, nn.BatchNorm2d) for m in model.roi_heads.modules())


def test_wrong_options(tiny):
    with pytest.raises(InputError, match="did you mean 'giou'"):
        create_detector("cascade_mask_rcnn", tiny.backbone(), num_classes=1, box_loss="iou")
    with pytest.raises(InputError, match="leaves no stage"):
        create_detector("cascade_mask_rcnn", tiny.backbone(), num_classes=1, thresholds=())
