"""Eight-bit weights and activations, by OpenVINO's post-training quantiser."""

import io
import logging
import os
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, redirect_stdout
from types import ModuleType
from typing import Any

from torch import Tensor

from convgate.deploy.extras import need

TELEMETRY_OFF = "NNCF_CI"  # read once, when the package is loaded


def quantise(graph: Any, batches: Iterable[Tensor]) -> Any:
    """Return an `openvino.Model` with int8 operators where the quantiser finds them worth it.

    Weights and activations are symmetric around zero, with a scale for each output channel and
    each tensor.

    Args:
        graph: The float32 `openvino.Model`.
        batches: Images as the network takes them, which the ranges of activations come from.

    Raises:
        InputError: if the package is missing.
    """
    nncf = _nncf()
    images = [x.contiguous().numpy() for x in batches]
    with _silent():
        return nncf.quantize(graph, nncf.Dataset(images), subset_size=len(images))


def _nncf() -> ModuleType:
    """Load the package without its reports to its makers."""
    before = os.environ.get(TELEMETRY_OFF)
    os.environ[TELEMETRY_OFF] = "1"
    try:
        return need("nncf", "int8")
    finally:
        if before is None:
            del os.environ[TELEMETRY_OFF]
        else:
            os.environ[TELEMETRY_OFF] = before


@contextmanager
def _silent() -> Iterator[None]:
    """Keep its bars off the standard output, which may be a table or JSON of ours."""
    logger = logging.getLogger("nncf")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings(), redirect_stdout(io.StringIO()):
            warnings.filterwarnings("ignore", module=r"(nncf|openvino)\b.*")
            yield
    finally:
        logger.setLevel(level)
