"""Packages that only some users install, asked for where they are needed."""

import os
import sys
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from types import ModuleType

from convgate.errors import missing

EXTRAS = {
    "onnx": "onnx",
    "onnxscript": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "nncf": "openvino",
}
"""Package -> the extra that brings it."""


_REPORTS = "openvino_telemetry"  # the package that reports to the makers of OpenVINO and NNCF


@contextmanager
def _without_reports() -> Iterator[None]:
    """Load packages without their identifiers in the home folder and reports to their makers.

    Who wants them imports openvino_telemetry first, or sets ORT_DISABLE_TELEMETRY=0.
    """
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")  # read at the first session
    if _REPORTS in sys.modules:
        yield
        return
    sys.modules[_REPORTS] = None  # type: ignore[assignment]  # absent, as for who has not installed it
    try:
        yield
    finally:
        del sys.modules[_REPORTS]


def need(package: str, what: str) -> ModuleType:
    try:
        with warnings.catch_warnings(), _without_reports():
            warnings.simplefilter("ignore", DeprecationWarning)  # of their own insides
            return import_module(package)
    except ImportError as error:
        raise missing(what, package, EXTRAS[package]) from error
