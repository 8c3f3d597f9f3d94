"""Packages that only some users install, asked for where they are needed."""

import warnings
from importlib import import_module
from types import ModuleType

from convgate.errors import InputError

EXTRAS = {
    "onnx": "onnx",
    "onnxscript": "onnx",
    "onnxruntime": "onnx",
    "openvino": "openvino",
    "nncf": "openvino",
}
"""Package -> the extra that brings it."""


def need(package: str, what: str) -> ModuleType:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", DeprecationWarning)  # of their own insides
            return import_module(package)
    except ImportError as error:
        raise InputError(
            f"{what} needs {package}, which is not installed: "
            f"pip install 'convgate[{EXTRAS[package]}]'"
        ) from error
