"""Networks for the rows of a printed table."""

import copy
import json
from functools import lru_cache
from typing import Any

import timm
import torch
from torch import Tensor, nn

from convgate.errors import InputError
from convgate.insertion import inserted
from convgate.insertion.attach import put
from convgate.measure.settings import noise
from convgate.models import create_model
from convgate.models.create import TORCHVISION
from convgate.networks.build import assemble_detector
from convgate.networks.gates import add_gate
from convgate.networks.specs import DetectorSpec
from convgate.papers.table import PaperBuild, PaperRow, PaperTable
from convgate.tasks.detect.fixed import FixedWork


def is_buildable(row: PaperRow) -> bool:
    return row.build is not None and bool(row.build.model) and not missing(row)


def missing(row: PaperRow) -> str:
    """Say that the row's network is not there; nothing where it is, or where none is named."""
    model = row.build.model if row.build else ""
    known = not model or model.startswith(TORCHVISION) or timm.is_model(model)
    return "" if known else f"there is no network {model!r} in this timm"


def build_row(table: PaperTable, row: PaperRow, device: str = "cpu") -> nn.Module:
    """Return the network of a row, without trained weights, in evaluation mode."""
    spec = row.build
    if spec is None or not spec.model:
        raise InputError(f"row {row.name!r} names no network; its numbers are as reported")
    classes = spec.num_classes or table.num_classes
    if spec.detector is not None:
        return _scene(spec, spec.detector, classes, device).eval()
    model = _backbone(spec.model, classes, device, spec.options)
    if spec.gate is not None:
        add_gate(model, spec.gate)
    if spec.tied_stem:
        tie_stem(model)
    return model.eval()


def fixed_row(table: PaperTable, row: PaperRow, device: str = "cpu") -> nn.Module:
    """Return the network of a row as it is counted and timed: detectors with fixed work."""
    model = build_row(table, row, device)
    return FixedWork(model).eval() if row.build and row.build.task == "detect" else model


def example_input(
    table: PaperTable, row: PaperRow, *, batch: int = 1, device: str = "cpu"
) -> Tensor:
    """Return images of the row's size, (batch, 3, H, W): the same noise every time."""
    if batch < 1:
        raise InputError(f"batch={batch} leaves no image; give at least 1")
    shape = batch, 3, *table.image_px_of(row)
    if device == "meta":
        return torch.empty(shape, device="meta")
    return noise(shape[1:], batch).to(device)


def tie_stem(model: nn.Module) -> None:
    """Let the gate on the stem be the first one of the first stage: one module in two places."""
    gates = list(inserted(model))
    stem = next((entry for entry in gates if entry[2].site.stage == 0), None)
    first = next((entry for entry in gates if entry[2].site.stage == 1), None)
    if stem is None or first is None or stem[2].site.channels != first[2].site.channels:
        raise InputError("tied_stem needs gates of one width on the stem and in the first stage")
    put(model, stem[0], first[1])


def _scene(build: PaperBuild, detector: DetectorSpec, classes: int, device: str) -> nn.Module:
    with torch.device("meta" if device == "meta" else "cpu"):
        model = assemble_detector(
            build.task, build.model, build.options, detector, num_classes=classes
        )
        if build.gate is not None:
            add_gate(model, build.gate)
    return model.to(device)


def _backbone(name: str, classes: int, device: str, options: dict[str, Any]) -> nn.Module:
    if device == "meta":
        return copy.deepcopy(_shapes(name, classes, json.dumps(options)))
    return create_model(name, num_classes=classes, **options).to(device)


@lru_cache(maxsize=4)  # a table's rows come backbone by backbone
def _shapes(name: str, classes: int, options: str) -> nn.Module:
    with torch.device("meta"):
        return create_model(name, num_classes=classes, **json.loads(options))
