"""Measure every case on the CPU, keep the results as CSV, print what was reached of the targets.

    python -m benchmarks.run --batch 8 --threads 2

A GPU has benchmarks of its own, in benchmarks/cuda.py and benchmarks/kernels.
"""

import argparse

import torch

from benchmarks.cases import CASES, IMAGE_PX, Case
from benchmarks.page import write_page
from benchmarks.record import RESULTS, rows_of, write
from benchmarks.shop import Shop
from benchmarks.targets import TARGETS, table
from convgate.measure import LatencyReport, compare_latency


def measure(case: Case, shop: Shop, options: argparse.Namespace) -> LatencyReport:
    """Open the rivals of a case and time them together."""
    rivals = {
        name: shop.open(build, case.engine, case.dtype, case.parts)
        for name, build in case.nets.items()
    }
    for name in case.int8:
        rivals[f"{name}, int8"] = shop.open(case.nets[name], case.engine, "int8", case.parts)
    for name in case.eager:
        rivals[f"{name}, eager float32"] = shop.open(case.nets[name], "eager", "float32")
    return compare_latency(
        rivals,
        shop.x,
        seconds=options.seconds,
        threads=options.threads,
        warmup_runs=3,
        warmup_cap_s=options.seconds / 2,
    )


def main() -> None:
    """Measure and print."""
    options = arguments()
    torch.set_num_threads(options.threads)
    shop = Shop(torch.randn(options.batch, 3, IMAGE_PX, IMAGE_PX), options.threads)
    found: dict[str, list[dict[str, object]]] = {}
    for case in CASES:
        if options.only in (None, case.subject):
            report = measure(case, shop, options)
            lines = found.setdefault(case.subject, [])
            lines.extend(rows_of(case.engine, case.dtype, case.parts, report))
            write(RESULTS / f"{case.subject}_cpu.csv", lines)
            ratios = "  ".join(f"{row.name}: {row.ratio:.3f}" for row in report.rows[1:])
            print(f"{case.engine} {case.dtype}, parts: {case.parts}  {ratios}", flush=True)
    print(table(TARGETS, RESULTS))
    write_page(RESULTS)


def arguments() -> argparse.Namespace:
    """Read the command line."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--batch", type=int, default=8, help="images at a time")
    parser.add_argument("--threads", type=int, default=2, help="CPU threads")
    parser.add_argument("--seconds", type=float, default=20.0, help="for each case")
    parser.add_argument("--only", choices=["selnext", "resnet50"], help="one subject")
    return parser.parse_args()


if __name__ == "__main__":
    main()
