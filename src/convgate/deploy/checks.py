"""What the engines can do here, asked before anything is built for them."""

import torch
from torch import Tensor, nn

from convgate.deploy.extras import need
from convgate.errors import InputError, unknown

FLOATS = ("float32", "bfloat16", "float16")
ENGINES = {
    "eager": FLOATS,
    "compile": FLOATS,
    "onnxruntime": ("float32",),
    "openvino": (*FLOATS, "int8"),
}
"""Engine -> the dtypes that it can compute in here."""
PACKAGES = {
    "onnxruntime": ("onnxruntime", "onnx", "onnxscript"),
    "openvino": ("openvino", "onnx", "onnxscript"),
}


def check_engine(name: str, dtype: str) -> None:
    """Ask that there is such an engine, installed, and that it computes in ``dtype``.

    Raises:
        InputError: if not.
    """
    if name not in ENGINES:
        raise unknown("engine", name, ENGINES)
    if dtype not in ENGINES[name]:
        every = {word for words in ENGINES.values() for word in words}
        if dtype not in every:
            raise unknown("dtype", dtype, every)
        raise InputError(
            f"engine {name!r} has no {dtype} here; choose from {', '.join(ENGINES[name])}"
        )
    for package in PACKAGES.get(name, ()):
        need(package, f"engine {name!r}")


def check_parts(name: str, parts: int, batch: int) -> None:
    """Ask that an engine can run a batch in so many parts side by side.

    Raises:
        InputError: if not.
    """
    if parts != 1 and name != "openvino":
        raise InputError(f"engine {name!r} runs a batch as one; --parts is for openvino")
    if parts < 1 or batch % parts:
        raise InputError(
            f"parts={parts} does not cut a batch of {batch} into equal parts; "
            f"use a divisor of {batch}"
        )


def check_size(model: nn.Module, x: Tensor) -> None:
    """Ask that the network takes such images at all.

    Raises:
        InputError: if it does not, as where the size is below its stride.
    """
    try:
        with torch.inference_mode():
            model(x)
    except (RuntimeError, AssertionError, ValueError) as error:
        reason = " ".join(str(error).split())[:160]
        size = " x ".join(map(str, x.shape[1:]))
        raise InputError(
            f"{type(model).__name__} does not take images of {size} ({reason}); give its own size"
        ) from error
