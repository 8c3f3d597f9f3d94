"""Time the kernels against their references, beside a copy: `python benchmarks/kernels [stem ...]`.

Needs a CUDA device. Every row is the share of the bandwidth that a copy of as many bytes reaches
in the same rounds; fused and reference are compared in value before anything is timed. The rows go
to benchmarks/results/kernels_cuda.csv.
"""

import csv
import sys
from collections.abc import Iterator
from importlib import import_module
from pathlib import Path

import torch
from case import Case

from convgate import kernels
from convgate.errors import InputError, unknown
from convgate.measure import environment
from convgate.measure.statistics import bootstrap_median, quantile
from convgate.measure.timing import Candidate, TimingPlan, ratios, run_rounds, timer_for, warm_up

STEMS = [file.stem for file in Path(__file__).parent.glob("*.py")]
STEMS = sorted(set(STEMS) - {"__main__", "case"})
RESULTS = Path(__file__).parents[1] / "results" / "kernels_cuda.csv"
SIZES = [(96, 96, 56), (96, 384, 14)]  # N, C and side: an early and a late stage
DTYPES = torch.float32, torch.bfloat16
LAYOUTS = torch.contiguous_format, torch.channels_last
PLAN = TimingPlan(seconds=10.0, pipelined=True)


def main(names: list[str], device: str = "cuda") -> None:
    """Print a row for each operator, size, dtype, memory format, direction and path."""
    for name in names:
        if name not in STEMS:
            raise unknown("benchmark", name, STEMS)
    if device == "cuda" and not torch.cuda.is_available():
        raise InputError("benchmarks/kernels needs a CUDA device; there is none here")
    rows = [row for name in names or STEMS for row in time_operator(name, device)]
    RESULTS.parent.mkdir(exist_ok=True)
    with RESULTS.open("w", newline="") as file:
        writer = csv.DictWriter(file, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    print(f"{len(rows)} rows in {RESULTS}")


def time_operator(name: str, device: str) -> Iterator[dict[str, object]]:
    """Yield the rows of one operator."""
    for n, c, side in SIZES:
        for dtype in DTYPES:
            for layout in LAYOUTS:
                make = _maker(device, dtype, layout)
                case = getattr(import_module(name), name)(make, n, c, side)
                check(name, case)
                for direction in ("forward", "both") if case.backward_bytes else ("forward",):
                    shared = {"operator": name, "size": case.size, "dtype": str(dtype)[6:]}
                    shared |= {"layout": str(layout)[6:], "direction": direction}
                    for row in time_case(case, direction, device):
                        print(*shared.values(), *row.values(), flush=True)
                        yield {**shared, **row, **environment(device)}


def _maker(device: str, dtype: torch.dtype, layout: torch.memory_format):
    def make(*size: int) -> torch.Tensor:
        x = torch.randn(size, device=device).to(dtype, memory_format=layout)
        return x.requires_grad_()

    return make


def check(name: str, case: Case) -> None:
    """Refuse to time a kernel that is wrong."""
    with torch.no_grad():
        with kernels.use("reference"):
            wanted = case.run()
        with kernels.use("fused"):
            y = case.run()
    far = (y.float() - wanted.float()).norm() / wanted.float().norm()
    if not far < 0.02:
        raise InputError(f"{name}: the kernel is off by {far:.3g} of the reference; not timed")


def time_case(case: Case, direction: str, device: str) -> Iterator[dict[str, object]]:
    """Yield the rows of one operator on one size, the paths in turn beside a copy."""
    moved = case.forward_bytes + (case.backward_bytes if direction == "both" else 0)
    source = torch.empty(moved // 2, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    candidates = [Candidate("copy", lambda: target.copy_(source))]
    candidates += [Candidate(path, _job(case, direction, path)) for path in ("fused", "reference")]
    timer = timer_for(torch.device(device), "throughput")
    warm_up(candidates, timer, PLAN)
    run_rounds(candidates, timer, PLAN)
    for candidate in candidates:
        share = bootstrap_median([1 / ratio for ratio in ratios(candidate, candidates[0])], seed=0)
        yield {
            "path": candidate.name,
            **{f"q{q:02}_ms": f"{quantile(candidate.visits_ms, q / 100):.4f}" for q in (5, 50, 95)},
            "gb_s": f"{moved / 1e6 / quantile(candidate.visits_ms, 0.5):.0f}",
            "share_of_copy": f"{share.median:.3f}",
            "share_low": f"{share.low:.3f}",
            "share_high": f"{share.high:.3f}",
            "settled": candidate.settled,
        }


def _job(case: Case, direction: str, path: str):
    with torch.no_grad():
        ones = torch.ones_like(case.run())

    def job() -> None:
        with kernels.use(path), torch.set_grad_enabled(direction == "both"):
            y = case.run()
            if direction == "both":
                torch.autograd.grad(y, case.inputs, ones)

    return job


if __name__ == "__main__":
    try:
        main(sys.argv[1:])
    except InputError as error:
        print(error, file=sys.stderr)
        sys.exit(2)
