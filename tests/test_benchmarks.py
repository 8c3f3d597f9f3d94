"""What the benchmarks say of their results, from results written by hand."""

import importlib
import importlib.util
import random
from pathlib import Path

import numpy as np
import pytest
import torch
from benchmarks.record import read
from PIL import Image
from torch import nn

FILE = Path(__file__).parent.parent / "benchmarks" / "targets.py"
RESULTS = """engine,dtype,parts,name,ratio
openvino,bfloat16,1,base,1.0
openvino,bfloat16,1,ours,0.8
openvino,bfloat16,1,slow,4.4
openvino,float32,1,ours,1.2
openvino,float32,2,ours,0.7
"""


@pytest.fixture
def targets():
    spec = importlib.util.spec_from_file_location("benchmark_targets", FILE)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.fixture
def results(tmp_path):
    (tmp_path / "net_cpu.csv").write_text(RESULTS)
    return tmp_path


@pytest.mark.parametrize(
    ("limit", "dtype", "name", "over", "measured", "reached"),
    [
        (0.9, "bfloat16", "ours", "", "0.800", "yes"),
        (1.1, "float32", "ours", "", "1.200", "no"),
        (5.0, "bfloat16", "ours", "slow", "5.500 times", "yes"),
        (6.0, "bfloat16", "ours", "slow", "5.500 times", "no"),
        (0.9, "float16", "ours", "", "not measured", ""),
        (0.9, "bfloat16", "theirs", "", "not measured", ""),
        (0.9, "float32", "ours", "slow", "not measured", ""),
    ],
)
def test_a_target_against_the_results(
    limit, dtype, name, over, measured, reached, targets, results
):
    target = targets.Target("it", limit, "net", "openvino", dtype, name, over)
    assert target.cells(results)[2:] == (measured, reached)


def test_a_target_in_another_number_of_parts(targets, results):
    target = targets.Target("it", 1.0, "net", "openvino", "float32", "ours", parts=2)
    assert target.cells(results)[2:] == ("0.700", "yes")


def test_without_results_nothing_is_measured(targets, tmp_path):
    assert {target.measured(tmp_path) for target in targets.TARGETS} == {None}
    lines = targets.table(targets.TARGETS, tmp_path).splitlines()
    assert len(lines) == len(targets.TARGETS) + 1
    assert max(map(len, lines)) <= 80


@pytest.fixture
def module(monkeypatch):
    """What imports a module of the benchmarks."""
    monkeypatch.syspath_prepend(FILE.parents[1])
    return lambda name: importlib.import_module(f"benchmarks.{name}")


def test_the_benchmark_of_a_gpu_can_be_imported(module):
    assert set(module("cuda").MODES) == {"eager", "compile", "compile, max-autotune"}


def test_every_engine_of_a_benchmark_is_the_network_and_shares_its_graph(module):
    net = nn.Sequential(nn.Conv2d(3, 4, 3), nn.AdaptiveAvgPool2d(1), nn.Flatten()).eval()
    x = torch.randn(2, 3, 16, 16, generator=torch.Generator().manual_seed(0))
    opener, built = module("run").Opener(x, 1), []

    def build(images):
        built.append(len(images))
        return net

    expected = net(x).detach()
    for engine, parts in (("eager", 1), ("onnxruntime", 1), ("openvino", 1), ("openvino", 2)):
        forward = opener.open(build, engine, "float32", parts)
        torch.testing.assert_close(forward(x), expected, rtol=1e-4, atol=1e-5)
    assert built == [2]


LINES = """gate,start,seed,kept,top1,moved,loss_late,val_loss
none,,0,100,60,0,1,1
none,,1,100,50,0,1,1
se,blend,0,100,61,0.01,1.5,1
se,blend,1,100,53,0.03,1.5,1
se,paper,0,1,40,0.5,2.5,1
se,paper,1,3,32,0.5,2.75,1
"""


def load(stem):
    spec = importlib.util.spec_from_file_location(f"benchmark_{stem}", FILE.parent / f"{stem}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_starts_are_compared_seed_by_seed(tmp_path):
    """Blend: +1 and +3 points to plain; t(1) is 12.706, so 2 +- 12.706 sqrt(2) / sqrt(2)."""
    starts = load("starts_page")
    (tmp_path / "runs.csv").write_text(LINES)
    runs = starts.runs_of(tmp_path / "runs.csv")
    table = starts.before_and_after(runs).splitlines()
    assert table[2].split(" | ")[:4] == ["| none", "", "100", "55.0"]
    assert table[3].split(" | ")[1:] == ["blend", "100.0", "57.0", "+2.0 [-10.7, +14.7]", "2.00 |"]
    worst = starts.against_blend(runs).splitlines()[2].split(" | ")
    assert worst[0] == "| paper" and worst[1].startswith("+1.125") and worst[4:] == ["-21.0", "2 |"]


def test_the_page_of_starts_holds_the_runs_beside_it():
    starts = load("starts_page")
    runs = (starts.runs_of(starts.FIGURE.parent / f"{name}.csv") for name in ("evidence", "starts"))
    assert starts.page(*runs) == (starts.DOCS / "identity_start.md").read_text()


def test_squares_hold_a_pedestrian_or_none():
    """Two boxes of 4 x 8 and 2 x 4 pixels: squares of 10 and 5, and of half that beside them."""
    pedestrians = load("pedestrians")
    numbers = np.zeros((40, 60), dtype=np.uint8)
    numbers[10:18, 20:24], numbers[30:34, 58:60] = 1, 2
    boxes = pedestrians.boxes_of(Image.fromarray(numbers))
    assert boxes == [(20, 10, 24, 18), (58, 30, 60, 34)]
    squares = [pedestrians.square(box, (60, 40)) for box in boxes]
    assert squares == [(17, 9, 27, 19), (55, 29, 60, 34)]  # the second is moved into the picture
    drawn = [pedestrians.free_square(20, boxes, (60, 40), random.Random(i)) for i in range(50)]
    covered = [numbers[y:y2, x:x2].any() for x, y, x2, y2 in filter(None, drawn)]
    assert len(covered) > 25 and not any(covered)
    assert pedestrians.free_square(40, boxes, (60, 40), random.Random(0)) is None


def test_ways_of_tuning_are_compared_seed_by_seed(tmp_path):
    """Probe: -1 and -3 points to full tuning; t(1) is 12.706, so -2 +- 12.706 sqrt(2) / sqrt(2)."""
    page = load("adapters_page")
    lines = ["way,pictures,seed,top1,trained_params,file_bytes"]
    lines += ["full,500,0,70,3000,12000", "probe,500,0,69,10,48", "full,500,1,74,3000,12000"]
    (tmp_path / "runs.csv").write_text("\n".join([*lines, "probe,500,1,71,10,48\n"]))
    rows = page.compared(read(tmp_path / "runs.csv"), 500).splitlines()[2:]
    assert rows[0] == "| full | 72.0 |  | 3,000 | 12,000 |"
    assert rows[1] == "| probe | 70.0 | -2.0 [-14.7, +10.7] | 10 | 48 |"
    assert read(tmp_path / "none.csv") == []


def test_the_page_of_ways_holds_the_runs_beside_it():
    page = load("adapters_page")
    assert page.page() == (page.DOCS / "adapters.md").read_text()


def test_detectors_are_compared_seed_by_seed():
    """SE: +1 and +3 points; t(1) is 12.706, so 2 +- 12.706 sqrt(2) / sqrt(2)."""
    page = load("detectors")
    scores = [("none", 0, 40, ""), ("se", 0, 41, 0.01), ("none", 1, 42, ""), ("se", 1, 45, 0.03)]
    runs = [
        {"gate": gate, "seed": str(seed), "box_ap": str(ap), "box_ap50": "90", "box_ap75": "30",
         "moved": str(moved), "params": "3000"}
        for gate, seed, ap, moved in scores
    ]  # fmt: skip
    rows = page.compared(runs).splitlines()[2:]
    assert rows[0] == "| none | 41.0 | 90.0 | 30.0 |  |  | 2 | 3,000 |"
    assert rows[1] == "| se | 43.0 | 90.0 | 30.0 | +2.0 [-10.7, +14.7] | 2.00 | 2 | 3,000 |"
