"""Operators with two forms: plain torch, which is the reference, and one pass in Triton.

A stem is an operator: `kernels/<stem>.py` holds the reference and the function that picks the
path, `kernels/fused/<stem>.py` the Triton form. `use` chooses.
"""

from convgate.kernels.path import use

__all__ = ["use"]
