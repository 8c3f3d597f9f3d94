"""What measure, insert, fold and export cost as networks grow: seconds, peak memory, slopes.

    python -m benchmarks.growth --blocks 10 30 100 300 1000 --params 1 5 25 100 500

Deep networks are residual blocks of 16 channels, from 10 to 1,000 of them; wide ones are 16 blocks
whose channels give 1 to 500 million parameters. Each step runs in a process of its own. Seconds are
those of the processor, so that a busy machine changes them little; the memory is the process's peak
over what it had before the step. A slope is that of log seconds over log size by least squares,
over the larger half of the sizes: 1 is linear; a memory below 1 MiB counts as 1.
"""

import argparse
import math
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch
from torch import Tensor, nn

from convgate.deploy import export
from convgate.folding import fold
from convgate.insertion import insert
from convgate.measure import count
from convgate.networks.card import Card
from convgate.networks.opening import Network
from convgate.networks.preprocessing import Preprocessing
from convgate.storage import write_csv

PX = 32
DEEP_CHANNELS, WIDE_BLOCKS = 16, 16


class Block(nn.Module):
    """y = relu(x + norm(conv(relu(norm(conv(x)))))), the basic block of a ResNet."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.conv1 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn1 = nn.BatchNorm2d(channels)
        self.act1 = nn.ReLU(inplace=True)
        self.conv2 = nn.Conv2d(channels, channels, 3, padding=1, bias=False)
        self.bn2 = nn.BatchNorm2d(channels)
        self.act2 = nn.ReLU(inplace=True)

    def forward(self, x: Tensor) -> Tensor:
        y = self.act1(self.bn1(self.conv1(x)))
        return self.act2(self.bn2(self.conv2(y)) + x)


def network(blocks: int, channels: int) -> nn.Module:
    """Return a stem, residual blocks of one width, and a head of ten classes."""
    return nn.Sequential(
        nn.Conv2d(3, channels, 3, stride=4, padding=1),
        nn.Sequential(*(Block(channels) for _ in range(blocks))),
        nn.AdaptiveAvgPool2d(1),
        nn.Flatten(),
        nn.Linear(channels, 10),
    ).eval()


def channels_of(params_m: float) -> int:
    """Return the multiple of 16 whose network of 16 blocks has about that many million numbers."""
    return max(16, 16 * round(math.sqrt(params_m * 1e6 / (2 * 9 * WIDE_BLOCKS)) / 16))


def run_step(step: str, blocks: int, channels: int) -> tuple[float, float]:
    """Return the processor seconds of a step, and the MiB by which it raised the peak."""
    model, x = network(blocks, channels), torch.randn(1, 3, PX, PX)
    if step in ("fold", "export"):
        insert(model, "se", at="block_end", example_input=x)
        model.eval()
    warm(step)
    before, started = peak_mib(), time.process_time()
    STEPS[step](model, x)
    return time.process_time() - started, peak_mib() - before


def warm(step: str) -> None:
    """Take the step once on a small network: what is loaded and built once is not counted."""
    small, x = network(2, 16), torch.randn(1, 3, PX, PX)
    if step != "insert":
        insert(small, "se", at="block_end", example_input=x)
    STEPS[step](small.eval(), x)


def _insert(model: nn.Module, x: Tensor) -> None:
    insert(model, "se", at="block_end", example_input=x)


def _export(model: nn.Module, x: Tensor) -> None:
    images = Preprocessing(input_size=(3, PX, PX), mean=(0.5,) * 3, std=(0.5,) * 3, resize="square")
    opened = Network(model, Card(images=images), "net", "net")
    with tempfile.TemporaryDirectory() as folder:
        export(opened, "onnx", Path(folder) / "net.onnx", fixed_size=True)


STEPS: dict[str, Callable[[nn.Module, Tensor], object]] = {
    "measure": count,
    "insert": _insert,
    "fold": fold,
    "export": _export,
}


def peak_mib() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


def apart(step: str, blocks: int, channels: int) -> tuple[float, float]:
    """Run a step in a process of its own."""
    words = [sys.executable, "-m", "benchmarks.growth", "--one", step, str(blocks), str(channels)]
    ran = subprocess.run(words, capture_output=True, text=True, check=True)
    seconds, mib = map(float, ran.stdout.split()[-2:])
    return seconds, mib


def slope(sizes: Sequence[float], values: Sequence[float]) -> float:
    """Return d log(value) / d log(size) of the larger half of the sizes."""
    half = max(2, (len(sizes) + 1) // 2)
    xs, ys = ([math.log(v) for v in each[-half:]] for each in (sizes, values))
    x, y = (sum(each) / len(each) for each in (xs, ys))
    over = sum((a - x) * (b - y) for a, b in zip(xs, ys, strict=True))
    return over / sum((a - x) ** 2 for a in xs)


def grow(
    what: str, unit: str, nets: dict[float, tuple[int, int]], steps: Sequence[str]
) -> list[dict[str, object]]:
    """Take every step at every size; print and return a row each, and the slopes."""
    rows: list[dict[str, object]] = []
    for step in steps:
        found = []
        for size, net in nets.items():
            found.append(apart(step, *net))
            seconds, mib = found[-1]
            row = {"step": step, "grows": what, "size": size, "unit": unit}
            rows.append({**row, "seconds": round(seconds, 3), "peak_mib": round(mib, 1)})
            print(*rows[-1].values(), flush=True)
        seconds_slope = slope(list(nets), [seconds for seconds, _ in found])
        memory_slope = slope(list(nets), [max(mib, 1) for _, mib in found])
        print(f"{step}, {what}: slope {seconds_slope:.2f} in time, {memory_slope:.2f} in memory")
    return rows


def main() -> None:
    """Measure, print, and write a CSV file."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--blocks", type=int, nargs="+", default=[10, 30, 100, 300, 1000])
    parser.add_argument("--params", type=float, nargs="+", default=[1, 5, 25, 100, 500])
    parser.add_argument("--steps", nargs="+", default=list(STEPS), choices=list(STEPS))
    parser.add_argument("--out", type=Path, help="CSV file for the rows")
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    if options.one:
        step, blocks, channels = options.one
        print(*run_step(step, int(blocks), int(channels)))
        return
    deep = {float(blocks): (blocks, DEEP_CHANNELS) for blocks in options.blocks}
    wide = {params: (WIDE_BLOCKS, channels_of(params)) for params in options.params}
    rows = grow("depth", "blocks", deep, options.steps)
    rows += grow("width", "M parameters", wide, options.steps)
    if options.out:
        write_csv(options.out, rows)


if __name__ == "__main__":
    main()
