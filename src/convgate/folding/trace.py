"""A network as a graph of its layers, with inserted gates as steps of their own."""

from typing import Any

from torch import fx, nn

from convgate.errors import InputError
from convgate.gates import Gate
from convgate.insertion import IdentityStart, inserted
from convgate.insertion.attach import HOOKS, unhook

LEAVES = (Gate, IdentityStart, nn.BatchNorm2d, nn.LayerNorm)
FROZEN = ("FrozenBatchNorm2d", "FrozenBatchNormAct2d")


class Tracer(fx.Tracer):
    """Keeps gates and norms whole, and runs the hooks of inserted gates on layers."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return (
            isinstance(m, LEAVES)
            or type(m).__name__ in FROZEN
            or super().is_leaf_module(m, module_qualified_name)
        )

    def call_module(self, m: nn.Module, forward: Any, args: Any, kwargs: Any) -> Any:
        if not self.is_leaf_module(m, self.path_of_module(m)):
            return super().call_module(m, forward, args, kwargs)  # its call runs the hooks
        for before in [hook for hook in m._forward_pre_hooks.values() if hook in HOOKS]:
            args = before(m, args)
        output = super().call_module(m, forward, args, kwargs)
        for after in [hook for hook in m._forward_hooks.values() if hook in HOOKS]:
            output = after(m, args, output)
        return output


def trace(model: nn.Module) -> fx.GraphModule:
    """Return a network, which it may change, as a graph.

    Raises:
        InputError: if it cannot be one, because its path depends on numbers in its tensors.
    """
    try:
        graph = Tracer().trace(model)
    except Exception as error:  # any code may run in a forward
        raise InputError(
            f"{type(model).__name__} cannot be folded: its forward is no fixed graph "
            f"({str(error).splitlines()[0] if str(error) else type(error).__name__})"
        ) from error
    for path, _, insertion in inserted(model):
        if insertion.holds == "site":
            above, _, name = path.rpartition(".")
            unhook(model.get_submodule(above), name)
    return fx.GraphModule(model, graph, type(model).__name__)
