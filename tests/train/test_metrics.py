"""Against torchmetrics and hand counts, on random detections."""

import warnings

import numpy as np
import pytest
import torch
from torchmetrics.detection import MeanAveragePrecision

from convgate.train.metrics import AveragePrecision, average_precision


def sample(seed, masks=True, size=(120, 160)):
    """Return one picture's detections and truth: near misses, doubles, crowds, inventions."""
    rng = torch.Generator().manual_seed(seed)
    height, width = size
    count = 4
    corner = torch.rand(count, 2, generator=rng) * torch.tensor([width - 60.0, height - 60.0])
    side = 8 + torch.rand(count, 2, generator=rng) * 50
    boxes = torch.cat([corner, corner + side], 1).round()
    labels = torch.randint(1, 4, (count,), generator=rng)
    shift = torch.randn(2 * count, 4, generator=rng) * 3
    found = (boxes.repeat(2, 1) + shift).clamp(min=0)
    found[:, 2:] = torch.maximum(found[:, 2:], found[:, :2] + 1)
    wrong = torch.rand(2 * count, generator=rng) < 0.2
    guess = torch.where(wrong, labels.repeat(2) % 3 + 1, labels.repeat(2))
    target = {
        "boxes": boxes,
        "labels": labels,
        "crowd": torch.rand(count, generator=rng) < 0.2,
        "difficult": torch.zeros(count, dtype=torch.bool),
        "area": torch.zeros(count),
        "shrunk": torch.tensor(1.0),
        "masks": fill(boxes, size),
    }
    scores = torch.rand(2 * count, generator=rng)
    detections = {"boxes": found, "labels": guess, "scores": scores}
    detections["masks"] = fill(found, size).unsqueeze(1).float()
    return torch.zeros(3, *size), detections, target


def fill(boxes, size):
    masks = torch.zeros(len(boxes), *size, dtype=torch.uint8)
    for mask, (left, top, right, bottom) in zip(masks, boxes.round().int().tolist(), strict=True):
        mask[top:bottom, left:right] = 1
    return masks


def ours(samples, **options):
    precision = AveragePrecision(**{"masks": True, "voc": False, **options})
    for image, detections, target in samples:
        precision.update([image], [detections], [target])
    return precision.compute()


def theirs(samples, kind):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        # its own marks are rounded to float32, which moves recalls that lie on one
        marks = {"rec_thresholds": np.linspace(0, 1, 101).tolist()}
        marks["iou_thresholds"] = np.linspace(0.5, 0.95, 10).tolist()
        metric = MeanAveragePrecision(iou_type=kind, **marks)
        for _, detections, target in samples:
            found = {**detections, "masks": detections["masks"][:, 0] > 0.5}
            there = {**target, "iscrowd": target["crowd"].int(), "masks": target["masks"].bool()}
            there["area"] = there["masks"].sum((1, 2)).float()
            if kind == "bbox":
                sides = target["boxes"][:, 2:] - target["boxes"][:, :2]
                there["area"] = sides.prod(1)
            metric.update([found], [there])
        return metric.compute()


NAMES = {"": "map", "50": "map_50", "75": "map_75", "_small": "map_small", "_medium": "map_medium"}


@pytest.mark.parametrize(("kind", "word"), [("bbox", "box"), ("segm", "mask")])
def test_coco_scores_equal_torchmetrics(kind, word):
    samples = [sample(seed) for seed in range(12)]
    found, expected = ours(samples), theirs(samples, kind)
    for ending, name in NAMES.items():
        assert found[f"{word}_ap{ending}"] == pytest.approx(100 * float(expected[name]), abs=1e-3)
    assert 20 < found[f"{word}_ap50"] < 95
    assert f"{word}_ap_large" not in found  # no object is above 96 x 96


def test_a_picture_read_smaller_scores_as_if_it_were_whole():
    """Boxes, masks and areas of a picture at half size count as those of the file."""
    image, detections, target = sample(3, size=(240, 320))
    small = dict(target, boxes=target["boxes"] / 2, shrunk=torch.tensor(2.0))
    small["masks"] = target["masks"][:, ::2, ::2]
    seen = dict(detections, boxes=detections["boxes"] / 2, masks=detections["masks"][..., ::2, ::2])
    whole = ours([(image, detections, target)])
    halved = ours([(image[:, ::2, ::2], seen, small)])
    for key in ("box_ap", "box_ap50", "box_ap_medium"):
        assert halved[key] == pytest.approx(whole[key], abs=1e-3)
    assert halved.keys() == whole.keys()


def test_perfect_absent_and_crowd_detections():
    image, _, target = sample(1)
    target["crowd"][:] = False
    perfect = {**{k: target[k] for k in ("boxes", "labels")}, "scores": torch.ones(4)}
    perfect["masks"] = target["masks"].unsqueeze(1).float()
    scores = ours([(image, perfect, target)], voc=True)
    assert {scores[k] for k in ("box_ap", "mask_ap", "voc_ap", "voc_ap11")} == {100.0}
    nothing = {k: v[:0] for k, v in perfect.items()}
    scores = ours([(image, nothing, target)], voc=True)
    assert {scores[k] for k in ("box_ap", "mask_ap", "voc_ap")} == {0.0}


def boxes_at(*lefts, scores=None):
    """Return 10 x 10 boxes of class 1 at these left edges."""
    boxes = torch.tensor([[left, 0.0, left + 10, 10] for left in lefts]).reshape(-1, 4)
    found = {"boxes": boxes, "labels": torch.ones(len(lefts), dtype=torch.int64)}
    return found if scores is None else found | {"scores": torch.tensor(scores)}


def voc(detections, lefts, difficult=()):
    target = boxes_at(*lefts) | {"area": torch.zeros(len(lefts)), "shrunk": torch.tensor(1.0)}
    target["crowd"] = torch.zeros(len(lefts), dtype=torch.bool)
    target["difficult"] = torch.tensor([left in difficult for left in lefts])
    return ours([(torch.zeros(3, 20, 200), detections, target)], masks=False, voc=True)


def test_vocs_precision_by_hand():
    """Right, double, right, invention over three objects: precision 1, 1/2, 2/3, 2/4.

    All points: recall 1/3 at 1 and 2/3 at 2/3: 1/3 + 2/9. Eleven: recalls 0 to 0.3 at 1, 0.4 to
    0.6 at 2/3, the rest 0: (4 + 2) / 11.
    """
    detections = boxes_at(0, 1, 50, 150, scores=[0.9, 0.8, 0.7, 0.6])
    scores = voc(detections, (0, 50, 100))
    assert scores["voc_ap"] == pytest.approx(100 * (1 / 3 + 2 / 9), abs=1e-3)
    assert scores["voc_ap11"] == pytest.approx(100 * 6 / 11, abs=1e-3)


def test_difficult_objects_are_neither_missed_nor_found():
    detections = boxes_at(0, 50, scores=[0.9, 0.8])
    assert voc(detections, (0, 50), difficult=(0,))["voc_ap"] == 100.0
    assert voc(boxes_at(50, scores=[0.8]), (0, 50), difficult=(0,))["voc_ap"] == 100.0
    assert voc(detections, (0, 50))["voc_ap"] == 100.0


def test_half_is_enough_and_less_is_not():
    """Two 10 x 10 boxes shifted by 10/3 overlap by exactly one half."""
    assert voc(boxes_at(10 / 3 - 1e-4, scores=[0.5]), (0,))["voc_ap"] == 100.0
    assert voc(boxes_at(3.4, scores=[0.5]), (0,))["voc_ap"] == 0.0


def test_precision_from_pycocotools_curve():
    """The area below COCO's own curve at an overlap of one half, where no match is contested."""
    samples = [sample(seed) for seed in range(12)]
    for _, _, target in samples:
        target["crowd"][:] = False
    recall = np.array([0.25, 0.25, 0.5, 0.75])
    precision = np.array([1.0, 0.5, 2 / 3, 0.75])
    assert average_precision(recall, precision) == pytest.approx(0.25 + 0.5 * 0.75)
    found = ours(samples, voc=True)
    assert found["voc_ap"] == pytest.approx(found["box_ap50"], abs=2.5)  # 101 points, other ties


def test_two_processes_put_their_pictures_in_order(monkeypatch):
    samples = [sample(seed) for seed in range(5)]
    whole = ours(samples)
    parts = [AveragePrecision(masks=True, voc=False) for _ in range(2)]
    for i, (image, detections, target) in enumerate(samples):
        parts[i % 2].update([image], [detections], [target])

    def gather(into, own):
        into[:] = [part.pairs for part in parts]

    monkeypatch.setattr("torch.distributed.is_initialized", lambda: True)
    monkeypatch.setattr("torch.distributed.get_world_size", lambda: 2)
    monkeypatch.setattr("torch.distributed.all_gather_object", gather)
    assert parts[0].compute() == whole


def test_without_pycocotools(monkeypatch):
    from convgate.errors import InputError

    monkeypatch.setitem(__import__("sys").modules, "pycocotools", None)
    with pytest.raises(InputError, match=r"pip install 'convgate\[detection\]'"):
        AveragePrecision(masks=False, voc=False)
