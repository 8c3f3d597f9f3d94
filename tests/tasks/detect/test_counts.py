"""Parameters of the detectors in SELNeXt's Tables 5 and 8 and EAN's Tables 4 and 5."""

import pytest
import torch

from convgate.insertion import insert, replace
from convgate.models import create_model
from convgate.tasks.backbone import Backbone, create_backbone
from convgate.tasks.detect import create_detector


def trained(module):
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@pytest.fixture(autouse=True)
def meta():
    with torch.device("meta"):
        yield


@pytest.mark.parametrize(
    ("detector", "backbone", "millions"),
    [
        ("mask_rcnn", "swin_tiny_patch4_window7_224", "48"),
        ("mask_rcnn", "convnext_tiny", "48"),
        ("mask_rcnn", "selnext_tiny", "55"),
        ("cascade_mask_rcnn", "swin_tiny_patch4_window7_224", "86"),
        ("cascade_mask_rcnn", "convnext_tiny", "86"),
        ("cascade_mask_rcnn", "selnext_tiny", "92"),
        ("cascade_mask_rcnn", "swin_small_patch4_window7_224", "107"),
        ("cascade_mask_rcnn", "convnext_small", "108"),
        ("cascade_mask_rcnn", "selnext_small", "119"),
        ("cascade_mask_rcnn", "swin_base_patch4_window7_224", "145"),
        ("cascade_mask_rcnn", "convnext_base", "146"),
        ("cascade_mask_rcnn", "selnext_base", "167"),
    ],
)
def test_table_5_of_selnext(detector, backbone, millions):
    body = create_backbone(backbone, norm_outputs=True)
    model = create_detector(detector, body, num_classes=80)
    assert f"{trained(model) / 1e6:.0f}" == millions


def test_table_8_of_selnext():
    """It prints no counts: the exchange costs the layer norms, 2 for each gated channel."""
    plain = create_model("mobilenetv3_large_100")
    gated = create_model("mobilenetv3_large_100")
    report = replace(gated, "se", "seln", reduction=4, divisor=8)
    counts = [
        trained(create_detector("mask_rcnn", Backbone(body), num_classes=80))
        for body in (plain, gated)
    ]
    assert counts[1] - counts[0] == 2 * sum(row.channels for row in report.rows) == 2 * 4056


@pytest.mark.parametrize(
    ("gate", "options", "frozen_norms", "millions"),
    [
        (None, {}, True, "41.7"),
        ("se", {"reduction": 16}, False, "44.3"),
        ("ean", {"groups": 64}, True, "41.7"),
    ],
)
def test_table_5_of_ean(gate, options, frozen_norms, millions):
    body = create_model("resnet50")
    if gate:
        insert(body, gate, at="block_end", start="paper", **options)
    backbone = Backbone(body, frozen_norms=frozen_norms)
    model = create_detector("faster_rcnn", backbone, num_classes=80)
    assert f"{trained(model) / 1e6:.1f}" == millions


def test_faster_rcnn_with_81_outputs():
    model = create_detector("faster_rcnn", create_backbone("resnet50"), num_classes=80)
    assert f"{trained(model) / 1e6:.3f}" == "41.757"
    frozen = create_backbone("resnet50", frozen_norms=True)
    assert f"{trained(create_detector('faster_rcnn', frozen, num_classes=80)) / 1e6:.3f}" == (
        "41.704"
    )


@pytest.mark.parametrize(("gate", "options"), [("se", {"reduction": 16}), ("ean", {"groups": 8})])
def test_tables_4_and_5_of_ean_on_ssdlite(gate, options):
    """Their counts (4.4 M on VOC, 4.3 on COCO) fit no head; the gates cost what they do alone."""
    bodies = [create_model("mobilenext") for _ in range(2)]
    report = insert(bodies[1], gate, at="block_end", start="paper", **options)
    counts = [
        trained(create_detector("ssdlite320", Backbone(body), num_classes=20)) for body in bodies
    ]
    assert counts[1] - counts[0] == sum(row.params for row in report.rows)
    assert f"{counts[0] / 1e6:.2f}" == "3.40"
