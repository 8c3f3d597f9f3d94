"""Read a module tree: parts by path, what is a gate, what can carry one."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

from torch import nn

Where = Literal["output", "input", "part"]
Layout = Literal["NCHW", "NHWC", "NLC"]

CHILDREN = {"output": "gate", "input": "input_gate", "part": "part_gate"}
"""The names of a module's gates: on its output, its input, or a part of a tuple that it returns."""

PLACES = {name: where for where, name in CHILDREN.items()}

MARK = "insertion"
"""The attribute of an inserted gate that says where it was put and what it is."""

ITERATES = {"children", "named_children", "_modules", "modules"}


@dataclass(frozen=True)
class TensorSite:
    """A tensor inside a module tree: output, input or returned part of the module at ``path``."""

    path: str
    where: Where
    channels: int
    layout: Layout = "NCHW"
    grid: tuple[int, int] = (0, 0)  # height and width, as traced
    part: int = 0  # which of the tensors that the module returns, where it is a part


def child(module: nn.Module, path: str) -> nn.Module | None:
    """Return the submodule at a dotted path, or None; the empty path is the module itself."""
    for name in path.split(".") if path else ():
        found = module._modules.get(name)
        if found is None:
            return None
        module = found
    return module


def join(*names: str) -> str:
    """Join the non-empty parts of a dotted path."""
    return ".".join(filter(None, names))


def own_children(module: nn.Module) -> dict[str, nn.Module]:
    """Return the children without gates that were inserted."""
    return {n: m for n, m in module._modules.items() if m is not None and MARK not in m.__dict__}


def own_modules(module: nn.Module, path: str = "") -> Iterator[tuple[str, nn.Module]]:
    """Yield the paths and modules of a network, without gates that were inserted."""
    yield path, module
    for name, part in own_children(module).items():
        yield from own_modules(part, join(path, name))


def carrier(model: nn.Module, path: str, where: Where = "output") -> str:
    """Return the path of the module whose output, or input, is that of ``path``: of a list, a part.

    A list runs its children one by one, so a child carries the gate for it.
    """
    module = child(model, path)
    while isinstance(module, nn.Sequential) and len(module):
        path = join(path, list(own_children(module))[-1 if where == "output" else 0])
        module = child(model, path)
    return path


def is_container(module: nn.Module) -> bool:
    """Whether a module runs whatever children it has, so that a gate would become a layer of it."""
    if isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
        return True
    code = getattr(type(module).forward, "__code__", None)
    return code is not None and not ITERATES.isdisjoint(code.co_names)
