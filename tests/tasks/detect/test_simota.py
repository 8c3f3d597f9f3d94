"""SimOTA against loops over objects and cells."""

import math

import pytest
import torch
from torchvision.ops import box_iou

from convgate.tasks.detect.simota import Predictions, simota


def sigmoid(x):
    return 1 / (1 + math.exp(-x))


def is_near(given, cell, box):
    (cx, cy), (stride,) = given.centres[cell].tolist(), given.strides[cell].tolist()
    x1, y1, x2, y2 = box
    return abs(cx - (x1 + x2) / 2) < 1.5 * stride and abs(cy - (y1 + y2) / 2) < 1.5 * stride


def class_cost(given, cell, label):
    cost = 0.0
    for k, logit in enumerate(given.logits[cell].tolist()):
        p = math.sqrt(sigmoid(logit) * sigmoid(given.objectness[cell].item()))
        cost -= math.log(p if k == label else 1 - p)
    return cost


def plain_simota(given, boxes, classes):
    """Section 2.1 with scalars: {cell: (object, overlap)}."""
    objects, places = range(len(boxes)), boxes.tolist()
    cells = [a for a in range(len(given.boxes)) if any(is_near(given, a, box) for box in places)]
    cost, overlap, wanted = {}, {}, {a: [] for a in cells}
    for g, label in enumerate(classes.tolist()):
        for a in cells:
            overlap[g, a] = box_iou(boxes[g : g + 1], given.boxes[a : a + 1]).item()
            far = 1e6 * (not is_near(given, a, places[g]))
            cost[g, a] = class_cost(given, a, label) - 3 * math.log(overlap[g, a] + 1e-8) + far
        best = sorted((overlap[g, a] for a in cells), reverse=True)[:10]
        for a in sorted(cells, key=lambda a: cost[g, a])[: max(int(sum(best)), 1)]:
            wanted[a].append(g)
    chosen = {}
    for a in (a for a in cells if wanted[a]):
        rivals = objects if len(wanted[a]) > 1 else wanted[a]
        g = min(rivals, key=lambda g: cost[g, a])
        chosen[a] = (g, overlap[g, a])
    return chosen


def random_case(seed, objects, kinds=3, side=64):
    generator = torch.Generator().manual_seed(seed)
    centres, strides = [], []
    for stride in (8, 16, 32):
        for y in range(side // stride):
            for x in range(side // stride):
                centres.append(((x + 0.5) * stride, (y + 0.5) * stride))
                strides.append((float(stride),))
    centres, strides = torch.tensor(centres), torch.tensor(strides)

    def draw(*shape):
        return torch.rand(*shape, generator=generator)

    sizes = strides * (0.5 + 3 * draw(len(centres), 2))
    middles = centres + strides * (draw(len(centres), 2) - 0.5)
    predicted = torch.cat([middles - sizes / 2, middles + sizes / 2], 1)
    logits, objectness = 4 * draw(len(centres), kinds) - 2, 4 * draw(len(centres), 1) - 2
    corners = draw(objects, 2) * side * 0.6
    boxes = torch.cat([corners, corners + 4 + draw(objects, 2) * side * 0.4], 1)
    classes = torch.randint(kinds, (objects,), generator=generator)
    codes = torch.zeros(len(predicted), 4)
    return Predictions(predicted, logits, objectness, codes, centres, strides), boxes, classes


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("objects", [1, 2, 7])
def test_against_loops(seed, objects):
    given, boxes, classes = random_case(seed, objects)
    found = simota(given, boxes, classes)
    expected = plain_simota(given, boxes, classes)
    assert dict(zip(found.cells.tolist(), found.objects.tolist(), strict=True)) == {
        a: g for a, (g, _) in expected.items()
    }
    overlaps = torch.tensor([expected[a][1] for a in found.cells.tolist()])
    torch.testing.assert_close(found.ious, overlaps)


def test_crowded_objects_contest_cells():
    """The case above is one where it matters: some cell is wanted by several objects."""
    given, boxes, classes = random_case(0, 1)
    boxes = boxes + torch.tensor([[0.0], [1.0], [2.0]])
    classes = classes.repeat(3)
    found = simota(given, boxes, classes)
    assert len(set(found.cells.tolist())) == len(found.cells)
    assert dict(zip(found.cells.tolist(), found.objects.tolist(), strict=True)) == {
        a: g for a, (g, _) in plain_simota(given, boxes, classes).items()
    }


def test_an_object_outside_every_cell_is_left_out():
    given, _, classes = random_case(0, 1)
    found = simota(given, torch.tensor([[900.0, 900, 910, 910]]), classes)
    assert found.cells.tolist() == found.objects.tolist() == found.ious.tolist() == []
