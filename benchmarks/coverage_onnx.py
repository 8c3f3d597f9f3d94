"""Export gated members of all families to ONNX, and fill that column of docs/coverage.md.

    python -m benchmarks.coverage_onnx              # what the page lacks, hours on one core
    python -m benchmarks.coverage_onnx --limit 60   # at most a minute of processor time each

Each family has a process of its own, and its cell is written as soon as it is known: a run that was
stopped continues where it was. An entry "-" has not been run.
"""

import argparse
import resource
import signal
import subprocess
import sys
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.coverage import NOT_RUN, PAGE, PASS, Row, build, cells
from convgate.deploy.onnx import run_onnx, to_onnx
from convgate.deploy.verify import inputs_to_compare, verify
from convgate.errors import InputError
from convgate.insertion import insert, inserted
from convgate.storage import write_text

COLUMN = cells(Row("", "")).index(NOT_RUN)
PLAIN = "plain net fails"
NO_TENSOR = "not tried"  # what `coverage` says of networks that give no single tensor


def exported(name: str) -> str:
    """Return what comes out of an export with gates on every block end: the cell of the page.

    The graph is run by ONNX Runtime at two batch sizes and compared with the eager network.
    """
    net = build(name, "cpu")
    size = (getattr(net, "pretrained_cfg", None) or {}).get("input_size", (3, 224, 224))
    images = torch.randn(3, *size, generator=torch.Generator().manual_seed(0))
    insert(net, "se", reduction=4)
    for _, gate, _ in inserted(net):
        for parameter in gate.parameters():
            nn.init.normal_(parameter, std=0.1)
    fault = _fault(name, net, images)
    if not fault:
        return PASS
    print(f"{name}: {fault}", file=sys.stderr)
    return PLAIN if _fault(name, build(name, "cpu"), images) else fault


def _fault(name: str, net: nn.Module, images: Tensor) -> str:
    try:
        graph = to_onnx(name, net, images[:2], fixed_size=True, fixed_batch=False)
        run = run_onnx(graph.SerializeToString(), 1)
        verify(name, run, net, inputs_to_compare(images, fixed_size=True), torch.float32)
    except InputError as error:
        return str(error)
    except Exception as error:  # whatever an exporter raises
        return f"{type(error).__name__}: {error}".splitlines()[0][:120]
    return ""


def in_process(name: str, limit: int) -> str:
    """Run `exported` in a process that may take ``limit`` seconds of processor time."""
    command = [sys.executable, "-m", "benchmarks.coverage_onnx", "--member", name]
    done = subprocess.run(
        command,
        stdout=subprocess.PIPE,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5)),
    )
    if done.returncode == -signal.SIGXCPU:
        return f"over {limit} s"
    if done.returncode:
        return f"ended by {done.returncode}"
    return done.stdout.splitlines()[-1]


def fill(page: Path, wanted: list[str], limit: int) -> None:
    """Fill the cells that the page lacks, one after another, of the families that are served."""
    for row in _rows(page):
        family, name, cell, verdict = row[0], row[1], row[COLUMN], row[-2]
        if cell == NOT_RUN and verdict == "served" and (not wanted or family in wanted):
            answer = NO_TENSOR if NO_TENSOR in row else in_process(name, limit)
            _write(page, family, answer)
            print(f"{family}: {answer}", flush=True)


def _write(page: Path, family: str, answer: str) -> None:
    lines = page.read_text().splitlines(keepends=True)
    for index, line in enumerate(lines):
        row = line.split(" | ")
        if row[0] == f"| {family}":
            row[COLUMN] = answer.replace("|", "\\|")
            lines[index] = " | ".join(row)
    write_text(page, "".join(lines))


def _rows(page: Path) -> list[list[str]]:
    lines = [line for line in page.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line[2:-1].split(" | ")] for line in lines[2:]]


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--family", nargs="*", default=[], help="Families; all by default.")
    parser.add_argument("--limit", type=int, default=120, help="Seconds of processor time for one.")
    parser.add_argument("--member", help="Try this network alone, here, and print its cell.")
    args = parser.parse_args(arguments)
    if args.member:
        torch.set_num_threads(1)
        print(exported(args.member))
    else:
        fill(PAGE, args.family, args.limit)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
