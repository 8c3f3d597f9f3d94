"""Operators with two forms: plain torch, which is the reference, and one pass in Triton.

A stem is an operator: `kernels/<stem>.py` holds the reference and the function that picks the
path, `kernels/fused/<stem>.py` the Triton form. `use` chooses.
"""

from convgate.kernels.cosine_distance import cosine_distance
from convgate.kernels.ean import ean
from convgate.kernels.gelu_mean import gelu_mean
from convgate.kernels.path import use
from convgate.kernels.scale_residual_act import scale_residual_act
from convgate.kernels.selnext_block import selnext_expand, selnext_project
from convgate.kernels.selnext_recompute import selnext_recompute, selnext_squeeze
from convgate.kernels.strip_gate import strip_gate, strips

__all__ = [
    "cosine_distance", "ean", "gelu_mean", "scale_residual_act", "selnext_expand",
    "selnext_project", "selnext_recompute", "selnext_squeeze", "strip_gate", "strips", "use",
]  # fmt: skip
