"""One record of everything about one model."""

import json

import torch
from torch import nn

from convgate.measure import count, measure
from convgate.measure.diversity import DistanceSum

FAST = {"rounds": 3, "warmup_s": 0.01, "warmup_cap_s": 0.5, "threads": 1}


def net():
    torch.manual_seed(0)
    layers = nn.Conv2d(3, 8, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 2)
    return nn.Sequential(*layers)


def test_measure_gathers_all_parts():
    model, x, images = net(), torch.randn(1, 3, 8, 8), torch.randn(4, 3, 8, 8)
    found = measure(model, x, name="tiny", images=images, **FAST)
    assert found.cost == count(model, x)
    assert found.memory.weight_bytes == 4 * (8 * 27 + 8 + 16 + 2)
    assert found.latency.row("tiny").median_ms > 0
    total = DistanceSum()
    with torch.no_grad():
        total.add(model[:2](images))
    assert found.counts.distances["1"] == total.result()
    plain = found.to_dict()
    assert json.loads(json.dumps(plain)) == plain


def test_bytes_follow_the_dtype():
    x = torch.randn(1, 3, 8, 8)
    full, half = measure(net(), x, **FAST), measure(net(), x, dtype="bfloat16", **FAST)
    assert full.cost.bytes_moved == 2 * half.cost.bytes_moved
    assert full.memory.weight_bytes == 2 * half.memory.weight_bytes
    assert full.cost.macs == half.cost.macs
    assert full.cost.trainable_params == full.cost.params


def test_a_measurement_prints_counts_beside_times():
    model, x = net(), torch.randn(1, 3, 8, 8)
    found = measure(model, x, name="tiny", **FAST)
    words = [line.split() for line in str(found).splitlines()]
    assert words[0][:3] == ["model", "params", "M"]
    # 3x3 convolution of 3 to 8 channels on 6 x 6 positions, then 8 to 2 numbers
    assert words[3][:2] == ["tiny", f"{(8 * 27 + 8 + 16 + 2) / 1e6:.6f}"]
    assert words[4][0] == f"{(27 * 8 * 36 + 16) / 1e9:.6f}"
    assert ["macs", f"{27 * 8 * 36 + 16:,}"] in [
        line.split() for line in str(found.cost).split("\n")
    ]
