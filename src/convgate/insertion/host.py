"""The module that can carry a gate for another: a container runs its children, gates included."""

from torch import nn

from convgate.errors import InputError
from convgate.insertion.tree import child, join

ITERATES = {"children", "named_children", "_modules", "modules"}


def output_host(model: nn.Module, path: str) -> str:
    """Return the path of the module whose output is that of ``path`` and that can have a child.

    Raises:
        InputError: if ``path`` is a container whose last step is not known.
    """
    return _descend(model, path, -1)


def input_host(model: nn.Module, path: str) -> str:
    """Return the path of the module that takes the input of ``path`` and that can have a child.

    Raises:
        InputError: if ``path`` is a container whose first step is not known.
    """
    return _descend(model, path, 0)


def _descend(model: nn.Module, path: str, index: int) -> str:
    module = child(model, path)
    while isinstance(module, nn.Sequential) and len(module):
        path = join(path, list(module._modules)[index])
        module = child(model, path)
    if module is None or _is_container(module):
        raise InputError(
            f"{path or 'the network'} is a {type(module).__name__}, which runs its children one "
            "by one and so cannot carry a gate; name a module inside it"
        )
    return path


def _is_container(module: nn.Module) -> bool:
    if isinstance(module, (nn.Sequential, nn.ModuleList, nn.ModuleDict)):
        return True
    code = getattr(type(module).forward, "__code__", None)
    return code is not None and not ITERATES.isdisjoint(code.co_names)
