"""Parts of a network that are not trained: early stages, batch norms."""

from collections.abc import Sequence
from typing import Any

from torch import nn

from convgate.errors import InputError
from convgate.insertion import inserted


def freeze_stages(body: nn.Module, info: Sequence[dict[str, Any]], count: int) -> list[str]:
    """Stop the gradients of the first feature stages, and of all that the network has before them.

    Args:
        body: The network; its parts are registered in the order they run, as timm's are.
        info: Its `feature_info`.
        count: How many stages.

    Returns:
        The paths of the frozen modules, to be held in evaluation mode.

    Raises:
        InputError: for more stages than there are.
    """
    if not 0 <= count <= len(info):
        raise InputError(
            f"frozen_stages={count}: {type(body).__name__} has {len(info)} feature stages"
        )
    if count == 0:
        return []
    tops = _up_to(body, info[count - 1]["module"].split("."))
    for path in tops:
        body.get_submodule(path).requires_grad_(False)
    return [path for top in tops for path, _ in body.get_submodule(top).named_modules(prefix=top)]


def freeze_norms(body: nn.Module) -> list[str]:
    """Stop the gradients of the batch norms outside inserted gates; return their paths."""
    gates = tuple(f"{path}." for path, _, _ in inserted(body))
    paths = [
        path
        for path, module in body.named_modules()
        if isinstance(module, nn.modules.batchnorm._BatchNorm) and not path.startswith(gates)
    ]
    for path in paths:
        norm = body.get_submodule(path)
        for parameter in norm.parameters(recurse=False):
            parameter.requires_grad_(False)
    return paths


def _up_to(body: nn.Module, steps: Sequence[str]) -> list[str]:
    """Return the children before a module's path at every level, and the path itself."""
    paths: list[str] = []
    above = ""
    for depth, step in enumerate(steps):
        names = list(body.get_submodule(above)._modules)
        paths += [f"{above}.{name}".lstrip(".") for name in names[: names.index(step)]]
        above = ".".join(steps[: depth + 1])
    return [*paths, above]
