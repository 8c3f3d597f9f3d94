"""The graph that the folds work on: traced with gates as steps, their shapes, what was done."""

import operator
from collections import Counter
from collections.abc import Iterator
from typing import Any, TypeVar

import torch
from torch import Tensor, fx, nn

from convgate.errors import InputError
from convgate.folding.report import Fold, Kept
from convgate.gates import Gate
from convgate.insertion import IdentityStart, inserted
from convgate.insertion.hooks import HOOKS, unhook

Step = fx.Node
READS = ("call_module", "get_attr")
GATE = "gate"
"""The note on a step of a gate that says which module was the gate."""
FOLDED = "_folded"  # after the name of what took a module's place
M = TypeVar("M", bound=nn.Module)
LEAVES = (Gate, IdentityStart, nn.BatchNorm2d, nn.LayerNorm)
FROZEN = ("FrozenBatchNorm2d", "FrozenBatchNormAct2d")
SAME = "Conv2dSame"  # timm's, whose padding depends on the size of the image


class Net:
    """A network being folded."""

    def __init__(self, module: fx.GraphModule, example: Tensor) -> None:
        self.module = module
        self.example = example
        self.folds: list[Fold] = []
        self.kept: list[Kept] = []
        self._shaped: list[Any] = []  # the graph whose shapes are noted
        self.refresh()

    @property
    def graph(self) -> fx.Graph:
        return self.module.graph

    def refresh(self) -> None:
        """Drop steps that nothing uses, and note the shapes of the others."""
        self.graph.eliminate_dead_code()
        self._calls = Counter(s.target for s in self.graph.nodes if s.op == "call_module")
        own = [(step, step.target, step.args, step.kwargs) for step in self.graph.nodes]
        if own != self._shaped:
            with torch.no_grad():
                _Shapes(self.module).run(self.example)
            self._shaped = own

    def drop_unused(self) -> None:
        """Drop the layers, and the numbers of layers, that no step calls or reads any more."""
        targets = {str(step.target) for step in self.graph.nodes if step.op in READS}
        holders = {above for target in targets for above in _above(target)}
        for path, module in list(self.module.named_modules()):
            if path in targets or not targets.isdisjoint(_above(path)):
                continue
            if path and path not in holders:
                if _taken(self.module, path):
                    self.module.delete_submodule(path)
                continue
            for name in [*module._parameters, *module._buffers]:  # it only holds other layers
                if (f"{path}.{name}" if path else name) not in targets:
                    delattr(module, name)
            if path and not isinstance(module, nn.Sequential):
                self.module.set_submodule(path, _holder(module))

    def steps(self, kind: type[M]) -> Iterator[tuple[Step, M]]:
        """Yield the steps that call a module of a kind, with the module, in order."""
        for step in list(self.graph.nodes):
            module = self.called(step, kind)
            if module is not None:
                yield step, module

    def called(self, step: object, kind: type[M]) -> M | None:
        """Return the module that a step calls, if it is of a kind and nothing hangs on it."""
        if not isinstance(step, fx.Node) or step.op != "call_module":
            return None
        module = self.module.get_submodule(str(step.target))
        hooked = module._forward_hooks or module._forward_pre_hooks
        return module if isinstance(module, kind) and not hooked else None

    def is_shared(self, step: Any) -> bool:
        """Whether a step calls a module that another step calls, too."""
        return self._calls[step.target] > 1

    def constant(self, step: object) -> Tensor | None:
        """Return the parameter or buffer that a step reads; None for any other step."""
        if not isinstance(step, fx.Node) or step.op != "get_attr":
            return None
        value: Any = self.module
        for name in str(step.target).split("."):
            value = getattr(value, name)
        return value if isinstance(value, Tensor) else None

    def add_module(self, path: str, module: nn.Module) -> str:
        """Put a module into the network and return its path; the old one at ``path`` may stay."""
        name = path
        while _taken(self.module, name):
            name += FOLDED
        self.module.add_submodule(name, module)
        return name

    def replace_module(self, step: Step, module: nn.Module) -> None:
        """Let a step call or read another module in the place of its own."""
        step.target = self.add_module(str(step.target), module)

    def item(self, step: Step, index: int) -> Step:
        """Add a step that takes one of what another gives."""
        return self.graph.call_function(operator.getitem, (step, index))

    def parameter(self, path: str, value: Tensor) -> Step:
        """Put a constant into the network; return the step, at the insertion point, to read it."""
        above, _, name = path.rpartition(".")
        parent = self.module.get_submodule(above)
        while hasattr(parent, name):
            name += FOLDED
        parent.register_parameter(name, nn.Parameter(value.detach().clone(), requires_grad=False))
        return self.graph.get_attr(f"{above}.{name}" if above else name)

    def note_fold(self, path: object, identity: str, before: int, after: int) -> None:
        """Note a fold; ``before`` and ``after`` count numbers of feature maps."""
        size = self.example.element_size()
        self.folds.append(Fold(_original(path), identity, before * size, after * size))

    def note_kept(self, path: object, reason: str) -> None:
        self.kept.append(Kept(_original(path), reason))

    def noted(self) -> set[str]:
        """Return the modules of which all, or a part, was folded, or kept for a reason."""
        paths = {*(fold.path for fold in self.folds), *(kept.path for kept in self.kept)}
        return paths | {above for path in paths for above in _above(path)}


class _Shapes(fx.Interpreter):
    def run_node(self, n: Step) -> Any:
        result = super().run_node(n)
        n.meta["shape"] = tuple(result.shape) if isinstance(result, Tensor) else None
        return result


def shape(step: object) -> tuple[int, ...]:
    """Return the shape of what a step gives; empty for anything but a tensor."""
    return (step.meta.get("shape") or ()) if isinstance(step, fx.Node) else ()


def numel(step: object) -> int:
    return torch.Size(shape(step)).numel()


def sole_user(step: object) -> Step | None:
    """Return the one step that uses another; None where there are none or more."""
    if not isinstance(step, fx.Node) or len(step.users) != 1:
        return None
    return next(iter(step.users))


def _above(path: str) -> Iterator[str]:
    """Yield the paths of what a part lies in, the network's own, which is empty, last."""
    while path:
        path = path.rpartition(".")[0]
        yield path


def _original(path: object) -> str:
    return str(path).replace(FOLDED, "")


def _holder(module: nn.Module) -> nn.Module:
    """Return what is left of a layer that no step calls, as a module of no kind."""
    bare = nn.Module()
    bare._parameters, bare._buffers = module._parameters, module._buffers
    bare._modules = module._modules
    bare.training = module.training
    return bare


def _taken(root: nn.Module, path: str) -> bool:
    try:
        root.get_submodule(path)
    except AttributeError:
        return False
    return True


class Tracer(fx.Tracer):
    """Keeps gates and norms whole, and runs the hooks of inserted gates on layers."""

    def is_leaf_module(self, m: nn.Module, module_qualified_name: str) -> bool:
        return (
            isinstance(m, LEAVES)
            or type(m).__name__ in (*FROZEN, SAME)
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
    """Return a network, which it may change, as a graph."""
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
