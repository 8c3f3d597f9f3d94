"""SimOTA against loops over objects and cells."""

import math

import pytest
import torch
import torch.nn.functional as F
from torchvision.ops import box_iou

from convgate.insertion import insert
from convgate.tasks.backbone import create_backbone
from convgate.tasks.detect import create_detector
from convgate.tasks.detect.yolox import CellOutputs, encode, paired_iou, simota


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
    return CellOutputs(predicted, logits, objectness, codes, centres, strides), boxes, classes


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


def nano(classes=20, **options):
    return create_detector(
        "yolox", create_backbone("csp_darknet_nano"), num_classes=classes, **options
    )


def parameters(module):
    return sum(p.numel() for p in module.parameters())


def test_parameters_of_nano():
    with torch.device("meta"):
        model = nano()
    assert parameters(model) == 900_459
    assert parameters(model.backbone) + parameters(model.neck) == 807_392


@pytest.mark.parametrize(
    ("gate", "options", "at", "mebibytes"),
    [
        ("ela_s", {}, "backbone.ends.?", "3.50"),
        ("ca", {"reduction": 16, "bias": False, "min_hidden": 1}, None, "3.61"),
        ("ca", {"reduction": 24, "bias": False, "min_hidden": 1}, None, "3.55"),
        ("ca", {"reduction": 32, "bias": False, "min_hidden": 1}, None, "3.52"),
        ("se", {"reduction": 16, "bias": False}, None, "3.55"),
    ],
)
def test_sizes_of_tables_3_and_7(gate, options, at, mebibytes):
    """The weights as 32-bit floats; the printed sizes leave the group norm of ELA out."""
    with torch.device("meta"):
        model = nano()
        report = insert(model, gate, at=at or model.gate_sites, **options)
    channels = [row.channels for row in report.rows]
    assert channels == [64, 128, 256, *([256, 128, 128, 256] if at is None else [])]
    norms = 2 * sum(channels) if gate == "ela_s" else 0
    assert f"{(parameters(model) - norms) * 4 / 2**20:.2f}" == mebibytes


def test_one_box_by_hand():
    """Cell (2, 1) at stride 8: its corner, moved by the offset, and the exponent of its size."""
    model = nano(3).eval()
    raw = torch.zeros(1, 64 + 16 + 4, 8)
    raw[0, 1 * 8 + 2] = torch.tensor([0.25, -0.5, math.log(2), math.log(3), 1, 2, -1, 0])
    model.head.forward = lambda maps: raw
    (given,) = model.predict(torch.zeros(1, 3, 64, 64))
    box = given.boxes[1 * 8 + 2].tolist()
    assert box == pytest.approx([18 - 8, 4 - 12, 18 + 8, 4 + 12])
    assert given.centres[1 * 8 + 2].tolist() == [20, 12]
    assert given.centres[-1].tolist() == [48, 48]
    assert given.strides.flatten().tolist() == [8] * 64 + [16] * 16 + [32] * 4
    found = model.detections([given])[0]
    assert found["labels"][0] == 1
    assert found["scores"][0] == pytest.approx(1 / (1 + math.exp(-1)) / (1 + math.exp(-2)))


def test_losses_written_out():
    torch.manual_seed(0)
    centres = torch.tensor([[4.0, 4], [12, 4], [4, 12], [12, 12]])
    boxes = torch.cat([centres - 5, centres + 7], 1)
    given = CellOutputs(
        boxes,
        torch.randn(4, 2),
        torch.randn(4, 1),
        torch.randn(4, 4),
        centres,
        torch.full((4, 1), 8.0),
    )
    target = {"boxes": torch.tensor([[1.0, 1, 14, 12]]), "labels": torch.tensor([2])}
    empty = {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0, dtype=torch.int64)}
    model = nano(2)
    losses = model.losses([given, given], [target, empty])

    cells = simota(given, target["boxes"], target["labels"] - 1).cells
    overlap = box_iou(boxes[cells], target["boxes"])[:, 0]
    objects = torch.zeros(4)
    objects[cells] = 1
    kinds = torch.stack([torch.zeros(len(cells)), overlap], 1)

    def bce(logits, p):
        return -(p * F.logsigmoid(logits) + (1 - p) * F.logsigmoid(-logits)).sum()

    flat = given.objectness[:, 0]
    expected = {
        "loss_box": 5 * (1 - overlap**2).sum() / len(cells),
        "loss_objectness": (bce(flat, objects) + bce(flat, 0 * objects)) / len(cells),
        "loss_class": bce(given.logits[cells], kinds) / len(cells),
    }
    assert losses.keys() == expected.keys()
    for key in expected:
        torch.testing.assert_close(losses[key], expected[key])

    model.closing = True
    losses = model.losses([given, given], [target, empty])
    middle, side = torch.tensor([7.5, 6.5]), torch.tensor([13.0, 11.0])
    wanted = torch.cat(
        [(middle - (centres[cells] - 4)) / 8, (side / 8).log().expand(len(cells), 2)], 1
    )
    code = sum(
        abs(float(a - b))
        for a, b in zip(given.codes[cells].flatten(), wanted.flatten(), strict=True)
    )
    assert losses.keys() == expected.keys() | {"loss_code"}
    assert float(losses["loss_code"]) == pytest.approx(code / len(cells), rel=1e-5)


def test_the_code_of_the_box_that_a_code_makes_is_that_code():
    torch.manual_seed(0)
    model = nano(1).eval()
    raw = torch.randn(1, 64 + 16 + 4, 6)
    model.head.forward = lambda maps: raw
    (given,) = model.predict(torch.zeros(1, 3, 64, 64))
    assert torch.equal(given.codes, raw[0, :, :4])
    cells = torch.tensor([3, 40, 63, 70, 83])
    torch.testing.assert_close(
        encode(given.boxes[cells], given, cells), raw[0, cells, :4], rtol=1e-4, atol=1e-4
    )


def test_paired_iou():
    torch.manual_seed(0)
    a, b = (torch.rand(2, 50, 4) * 10).unbind(0)
    a[:, 2:] += a[:, :2]
    b[:, 2:] += b[:, :2]
    torch.testing.assert_close(paired_iou(a, b), box_iou(a, b).diagonal())


def test_padding_is_grey_and_pixels_run_to_255():
    model = nano(1, min_size=64, max_size=64)
    batch, _ = model.transform([torch.rand(3, 64, 32), torch.rand(3, 32, 64)])
    torch.testing.assert_close(batch.tensors[0, :, :, 32:], torch.full((3, 64, 32), 114.0))
    assert batch.tensors[0, :, :, :32].max() > 200
