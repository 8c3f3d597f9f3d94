"""What a report says of a gate's cost, against counts by hand."""

import json

import pytest
import torch

from convgate.errors import InputError
from convgate.insertion import insert, remove, replace
from convgate.measure import count

FAST = {"rounds": 3, "warmup_s": 0.0, "warmup_runs": 1, "warmup_cap_s": 0.1, "sample_ms": 0.1}


def se_costs(channels: int, reduction: int = 16) -> tuple[int, int]:
    """Return the parameters and the multiply-adds of SE: two layers, the first on the mean."""
    hidden = channels // reduction
    return 2 * channels * hidden + hidden + channels, 2 * channels * hidden


def test_costs_of_se(backbone):
    net = backbone("resnet")
    report = insert(net, "se", start="paper", example_input=torch.randn(2, 3, 32, 32))
    assert [row.channels for row in report.rows] == [32, 48, 192, 96]
    for row in report.rows:
        assert (row.params, row.macs) == se_costs(row.channels)
    assert report.params == sum(se_costs(c)[0] for c in (32, 48, 192, 96))
    assert report.macs == sum(se_costs(c)[1] for c in (32, 48, 192, 96))
    assert report.share is None


def test_costs_of_a_convolution_follow_the_image(backbone):
    """ELA-T with one channel a group: five taps for each channel and each of H + W positions."""
    net = backbone("mobilenet_v2")
    x = torch.randn(1, 3, 64, 96)
    report = insert(net, "ela_b", at="stem_end", example_input=x, start="paper")
    assert [row.macs for row in report.rows] == [16 * 7 * (32 + 48)]


def test_a_network_needs_no_example(backbone):
    """timm's networks note their size; others are tried at 224 px, 112 after the stem."""
    net = backbone("convnext")
    size = net.pretrained_cfg["input_size"][1] // 4
    report = insert(net, "ela_b", at="stem_end", num_groups=8, start="paper")
    assert [row.macs for row in report.rows] == [24 * 7 * 2 * size]
    report = insert(backbone("mobilenet_v2"), "ela_b", at="stem_end", start="paper")
    assert [row.macs for row in report.rows] == [16 * 7 * (112 + 112)]


def test_replacing_counts_the_difference(backbone):
    net = backbone("efficientnet")
    own = [
        sum(p.numel() for p in block.se.parameters())
        for block in (net.blocks[3][0], net.blocks[4][0])
    ]
    report = replace(net, "se", "se", reduction=16, example_input=torch.randn(1, 3, 64, 64))
    assert [row.params for row in report.rows] == [
        se_costs(c)[0] - old for c, old in zip((128, 192), own, strict=True)
    ]
    assert [row.macs for row in report.rows] == [se_costs(c)[1] for c in (128, 192)]
    assert [row.params for row in remove(net).rows] == [-se_costs(c)[0] for c in (128, 192)]


@pytest.mark.parametrize("at", ["block_end", "spatial", "hidden", "se"])
def test_the_share_of_latency(at, backbone):
    net, x = backbone("selnext"), torch.randn(1, 3, 32, 32)
    own = at == "se"
    report = replace(net, "se", "eca") if own else insert(net, "seln", at=at, reduction=4)
    assert report.share is None
    modes = [module.training for module in net.modules()]
    measured = report.measure(net, x, **FAST)
    for row in measured.rows:
        assert 0 < row.share_low <= row.share <= row.share_high < 1
        assert row.macs is not None
    assert measured.share == pytest.approx(sum(row.share for row in measured.rows))
    assert [module.training for module in net.modules()] == modes
    assert report.share is None


def test_a_gate_that_is_gone_cannot_be_measured(backbone):
    net = backbone("resnet")
    report = insert(net, "se")
    remove(net)
    with pytest.raises(InputError, match=r"no gate at layer1.0.bn2"):
        report.measure(net, torch.randn(1, 3, 32, 32), **FAST)


def test_the_forms_of_a_report(backbone):
    net = backbone("resnet")
    report = insert(net, "se", at="spatial", start="paper", example_input=torch.randn(1, 3, 32, 32))
    said = json.loads(json.dumps(report.to_dict()))
    assert said["rows"][0]["path"] == report.rows[0].path
    assert said["total"] == {"params": report.params, "macs": report.macs, "share": None}
    assert (said["action"], said["gate"], said["start"]) == ("insert", "se", "paper")
    lines = str(report).splitlines()
    assert lines[0].split() == [
        "site",
        "path",
        "stage",
        "channels",
        "gate",
        "params",
        "MACs",
        "latency",
    ]
    assert len(lines) == 2 + len(report.rows) + 1  # head, rule, rows, total
    assert (
        len(
            {
                line.index(f"{row.params:+,}") + len(f"{row.params:+,}")
                for line, row in zip(lines[2:], report.rows, strict=False)
            }
        )
        == 1
    )
    assert lines[-1].startswith("total  ") and f"{report.macs:,}" in lines[-1]


def test_multiply_adds_are_counted_when_they_are_read(backbone, monkeypatch):
    counted = []

    def counting(*given):
        counted.append(given)
        return count(*given)

    monkeypatch.setattr("convgate.insertion.report.count", counting)
    net, x = backbone("resnet"), torch.randn(1, 3, 32, 32)
    report = insert(net, "se", at="spatial", start="paper", example_input=x)
    assert not counted
    remove(net)  # the report outlives the gates
    del net
    expected = sum(se_costs(row.channels)[1] for row in report.rows)
    assert (report.macs, report.to_dict()["total"]["macs"]) == (expected, expected)
    assert len(counted) == len(report.rows)
    assert all(given[1].device.type == "meta" for given in counted)
