"""The state in which a model is looked at: eval mode, left as it was found."""

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn


@contextmanager
def evaluated(model: nn.Module) -> Iterator[None]:
    """Put every module in eval mode, without gradients, and give each its own mode back."""
    training = [module for module in model.modules() if module.training]
    model.eval()
    try:
        with torch.no_grad():
            yield
    finally:
        for module in training:
            module.training = True


def check_input(example_input: object) -> None:
    """Refuse what is not a tensor with a batch in front.

    Raises:
        TypeError: if ``example_input`` is no tensor or has no batch dimension.
    """
    if not isinstance(example_input, torch.Tensor) or example_input.ndim == 0:
        kind = type(example_input).__name__
        raise TypeError(f"example_input is a {kind}; give a tensor with the batch in front")
