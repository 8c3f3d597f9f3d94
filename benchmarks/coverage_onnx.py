"""Export gated members of all families to ONNX, and fill that column of docs/coverage.md.

    python -m benchmarks.coverage_onnx              # what the page lacks, hours on one core
    python -m benchmarks.coverage_onnx --limit 60   # at most a minute of processor time each

Each family has a process of its own, and its cell is written as soon as it is known: a run that was
stopped continues where it was. An entry "-" has not been run.
"""

import argparse
import copy
import multiprocessing
import resource
import signal
import sys
from multiprocessing.connection import Connection
from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.coverage import NOT_RUN, PAGE, PASS, Row, build, cells
from convgate.deploy.onnx import Forward, run_onnx, to_onnx
from convgate.errors import InputError
from convgate.insertion import insert, inserted
from convgate.measure.parity import TOLERANCE, relative_difference
from convgate.storage import write_text

COLUMN = cells(Row("", "")).index(NOT_RUN)
CONTEXT = multiprocessing.get_context("forkserver")
LOADED = ["benchmarks.coverage", "convgate.deploy.onnx", "onnxscript", "onnxruntime"]
"""What the process that others are split off from has imported."""
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
        return next(filter(None, (_differs(run, net, x) for x in (images[:1], images))), "")
    except InputError as error:
        return str(error)
    except Exception as error:  # whatever an exporter raises
        return f"{type(error).__name__}: {error}".splitlines()[0][:120]


def _differs(run: Forward, net: nn.Module, x: Tensor) -> str:
    """Say that a graph computes something else than its network does, rounding apart.

    Random networks amplify rounding; how much, the network in float64 tells.
    """
    with torch.inference_mode():
        expected, wide = net(x), copy.deepcopy(net).double()(x.double())
    limit = max(TOLERANCE[torch.float32], 10 * relative_difference(expected.double(), wide))
    difference = relative_difference(run(x), expected)
    return "" if difference <= limit else f"differs by {difference:.1g} of the norm"


def in_process(name: str, limit: int) -> str:
    """Run `exported` in a process that may take ``limit`` seconds of processor time."""
    CONTEXT.set_forkserver_preload(LOADED)
    receiver, sender = CONTEXT.Pipe(duplex=False)
    process = CONTEXT.Process(target=_send, args=(sender, name, limit))
    process.start()
    sender.close()
    with receiver:
        try:
            answer = str(receiver.recv())
        except EOFError:  # it was ended
            answer = ""
    process.join()
    over = process.exitcode == -signal.SIGXCPU
    return f"over {limit} s" if over else answer or f"ended by {process.exitcode}"


def _send(sender: Connection, name: str, limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_CPU, (limit, limit + 5))
    torch.set_num_threads(1)
    sender.send(exported(name))


def fill(page: Path, wanted: list[str], limit: int) -> None:
    """Fill the cells that the page lacks, one after another, of the families that are served."""
    rows = {row[0]: row for row in _rows(page)}
    for row in [rows[family] for family in wanted] or rows.values():
        family, name, cell, verdict = row[0], row[1], row[COLUMN], row[-2]
        if cell == NOT_RUN and verdict == "served":
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
    known = [row[0] for row in _rows(PAGE)]
    parser.add_argument("--family", nargs="*", default=[], choices=known, metavar="NAME",
                        help="Families, in this order; all by default.")  # fmt: skip
    parser.add_argument("--limit", type=int, default=120, help="Seconds of processor time for one.")
    args = parser.parse_args(arguments)
    fill(PAGE, args.family, args.limit)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
