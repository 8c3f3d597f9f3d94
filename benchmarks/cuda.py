"""What a GPU is to reach with whole networks: SELNeXt at its fastest, and training steps.

    python -m benchmarks.cuda

Each network first runs in every form; the fastest of each are then timed against each other.
"""

import argparse
from collections.abc import Callable, Iterable
from pathlib import Path
from tempfile import mkdtemp

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from benchmarks.cases import IMAGE_PX, plain
from benchmarks.page import write_page
from benchmarks.record import RESULTS, rows_of
from benchmarks.targets import BEST, EACH, STEP, TARGETS, table
from convgate.deploy.engines import open_engine
from convgate.errors import InputError
from convgate.folding import fold
from convgate.insertion import insert
from convgate.measure import LatencyReport, compare_latency
from convgate.models import create_model
from convgate.storage import write_csv

NETS = ("convnext_tiny", "selnext_tiny")
GATES = ("se", "ean")
MODES = {"eager": None, "compile": "default", "compile, max-autotune": "max-autotune"}
DTYPE = "bfloat16"
Run = Callable[[Tensor], object]


def compare_forms(
    x: Tensor, modes: Iterable[str], seconds: float
) -> tuple[LatencyReport, LatencyReport]:
    """Time every form of both networks, and the fastest form of each against each other."""
    forms = {
        f"{name}, {form}": run for name in NETS for form, run in _forms(name, x, modes).items()
    }
    each = compare_latency(forms, x, seconds=seconds)
    times = {row.name: row.median_ms for row in each.rows}
    best = {
        name: min((form for form in forms if form.startswith(name)), key=times.__getitem__)
        for name in NETS
    }
    print("fastest:", *best.values(), sep="\n  ", flush=True)
    finals = {name: forms[form] for name, form in best.items()}
    return compare_latency(finals, x, seconds=seconds), each


def _forms(name: str, x: Tensor, modes: Iterable[str]) -> dict[str, Run]:
    with torch.no_grad():
        net = plain(name)(x).to(x.device, memory_format=torch.channels_last)
        nets = {"": net, ", folded": fold(net, x[:2])}
    made: dict[str, Run] = {}
    for mode in modes:
        engine, option = mode.split(",")[0], MODES[mode]
        options = {"compile_mode": option} if option else {}
        for form, net in nets.items():
            made[mode + form] = open_engine(engine, net, x, dtype=DTYPE, **options)
    return made


def training_steps(x: Tensor, seconds: float) -> LatencyReport:
    """Time one step of ResNet-50 with and without gates: autocast, channels last, SGD."""
    steps: dict[str, Run] = {"resnet50": _step(None, x)}
    steps |= {gate: _step(gate, x) for gate in GATES}
    return compare_latency(steps, x, seconds=seconds)


def _step(gate: str | None, x: Tensor) -> Run:
    torch.manual_seed(0)
    net = create_model("resnet50").to(x.device, memory_format=torch.channels_last).train()
    if gate:
        insert(net, gate, at="block_end", start="paper")
    optimiser = torch.optim.SGD(net.parameters(), lr=1e-3, momentum=0.9)
    images, labels = x.clone(), torch.arange(len(x), device=x.device)

    def step(_: Tensor) -> None:
        with torch.inference_mode(False), torch.enable_grad():
            _update(net, optimiser, images, labels)

    if not _update(net, optimiser, images, labels).isfinite():
        raise InputError(f"resnet50 with {gate}: the first step's loss is not finite; not timed")
    return step


def _update(
    net: nn.Module, optimiser: torch.optim.Optimizer, images: Tensor, labels: Tensor
) -> Tensor:
    optimiser.zero_grad()
    with torch.autocast(images.device.type, torch.bfloat16):
        loss = F.cross_entropy(net(images), labels)
    loss.backward()
    optimiser.step()
    return loss.detach()


def main() -> None:
    """Measure, write and print."""
    options = arguments()
    if options.device == "cuda" and not torch.cuda.is_available():
        raise SystemExit("benchmarks.cuda needs a CUDA device; there is none here")
    size = options.batch, 3, options.image_px, options.image_px
    x = torch.randn(size, device=options.device).contiguous(memory_format=torch.channels_last)
    results = RESULTS if x.is_cuda else Path(mkdtemp())  # a trial leaves the results alone
    best, each = compare_forms(x, options.modes, options.seconds)
    steps = training_steps(x, options.seconds)
    found = {"selnext": {BEST: best, EACH: each}, "resnet50": {STEP: steps}}
    for subject, reports in found.items():
        lines = [line for key, each in reports.items() for line in rows_of(key, DTYPE, 1, each)]
        write_csv(results / f"{subject}_cuda.csv", lines)
    print(table(TARGETS, results))
    if results == RESULTS:
        write_page(RESULTS)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("--batch", type=int, default=96, help="images at a time")
    add("--seconds", type=float, default=20.0, help="for each comparison")
    add("--device", default="cuda", help="another device tries the code")
    add("--image-px", type=int, default=IMAGE_PX)
    add("--modes", nargs="+", default=list(MODES), choices=list(MODES))
    return parser.parse_args()


if __name__ == "__main__":
    main()
