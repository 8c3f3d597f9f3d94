"""A gate as steps: what it sees of x, the scale that follows from it, and the product.

    gate(x) x = multiply(multiply(x, s), t)  with s, t = scales(pool(x)),   or multiply(x, gate(x))

The steps compute what the gate did; the other folds exchange them with their neighbours. Of a
`Rescaled` gate the first factor takes the gain: (gain s) t = gain (s t). A `Blend` needs the whole
scale; with alpha = 0 it is x itself: (1 + 0 (s - 1)) x = x for every finite s.
"""

from functools import reduce
from typing import Any

import torch
from torch import Tensor, nn

from convgate.folding.net import GATE, Net, Step, numel, sole_user
from convgate.folding.steps import multiply
from convgate.gates import GRN, Gate, PooledGate
from convgate.insertion import Blend, IdentityStart, Rescaled, inserted
from convgate.insertion.attach import WHOLE
from convgate.insertion.module_tree import MARK

IDENTITY = "gate that is still the identity"
OWN_MAP = "its scale is a map of every position of its own input"
NO_PRODUCT = "it is more than a product"
NOT_POOLED = "its squeeze is not linear in its input"
ALONE = "no layer next to it takes its scale or its squeeze"


def blend(s: Tensor, alpha: Tensor) -> Tensor:
    """Return the scale of a gate that is blended in by alpha."""
    return 1 + alpha.to(s.dtype) * (s - 1)


def split_gates(net: Net) -> None:
    """Write every gate that scales whole channels, rows or columns as steps."""
    for step, module in net.steps(nn.Module):
        if isinstance(module, Blend) and not module.alpha.any() and _drop(net, step):
            continue
        gate = module.gate if isinstance(module, IdentityStart) else module
        if isinstance(gate, Gate):
            reason = _split(net, step, module, gate)
            if reason:
                net.note_kept(step.target, f"{gate.name}: {reason}")
    net.refresh()


def _drop(net: Net, step: Step) -> bool:
    x = step.args[0]
    if sole_user(x) is not step:  # what changes its output in place would change x for others
        return False
    net.note_fold(step.target, IDENTITY, 3 * numel(step), 0)
    step.replace_all_uses_with(x)  # type: ignore[arg-type]
    return True


def _split(net: Net, step: Step, module: nn.Module, gate: Gate) -> str:
    """Replace a gate by its steps; return why something of it stays as it was."""
    shifted = isinstance(gate, GRN)
    if not gate.is_product and (not shifted or module is not gate):
        return NO_PRODUCT
    if not isinstance(gate, PooledGate) and not _scales_channels(gate):
        return OWN_MAP
    y: Any = step.args[0]
    with net.graph.inserting_before(step):
        for s in _scales(net, step, module, gate):
            y = net.graph.call_function(multiply, (y, s))
            y.meta.update(_note(net, step))
        if shifted:
            beta = net.parameter(f"{step.target}.shift", gate.beta[:, None, None])  # type: ignore[index]
            y = net.graph.call_function(torch.add, (y, beta))
    step.replace_all_uses_with(y)
    return "" if isinstance(gate, PooledGate) else NOT_POOLED


def _scales(net: Net, step: Step, module: nn.Module, gate: Gate) -> list[Step]:
    """Add the steps that give the scale of a gate, or its factors one by one."""
    own = module is gate
    owner = net.graph.get_attr(str(step.target) if own else f"{step.target}.gate")
    scales = _factors(net, owner, gate, step.args[0], _note(net, step))
    if own:
        return scales
    if isinstance(module, Rescaled):
        return [net.graph.call_function(torch.mul, (scales[0], module.gain)), *scales[1:]]
    alpha = net.graph.get_attr(f"{step.target}.alpha")
    whole = reduce(lambda s, t: net.graph.call_function(torch.mul, (s, t)), scales)
    return [net.graph.call_function(blend, (whole, alpha))]


def _note(net: Net, step: Step) -> dict[str, str]:
    """Return what the steps of a gate that was inserted note: its path."""
    path = str(step.target)
    return {GATE: path} if MARK in vars(net.module.get_submodule(path)) else {}


def _factors(net: Net, owner: Step, gate: Gate, x: Any, note: dict[str, str]) -> list[Step]:
    if not isinstance(gate, PooledGate):
        return [net.graph.call_method("gate", (owner, x))]
    probe = gate.pool(_probe(gate))
    pooled = net.graph.call_method("pool", (owner, x))
    pooled.meta.update(note)
    parts = [net.item(pooled, index) for index in range(len(probe))]
    scales = net.graph.call_method("scales", (owner, *parts))
    return [net.item(scales, index) for index in range(len(gate.scales(*probe)))]


def note_gates(net: Net, model: nn.Module) -> None:
    """Note every inserted gate of a network that no fold has found a use for."""
    noted = net.noted()
    for path, gate, _ in inserted(model):
        if path not in noted:
            name = type(gate.gate if isinstance(gate, IdentityStart) else gate).__name__
            net.note_kept(path, f"{name}: {ALONE}")


def leave_whole(net: Net) -> None:
    """Let tracers take each step of ours as one, for what it does depends on types and devices."""
    for step in list(net.graph.nodes):
        if step.op == "call_method" and step.target in PARTS and _is_gate(net, step.args[0]):
            with net.graph.inserting_before(step):
                new = net.graph.call_function(PARTS[step.target], step.args)
            step.replace_all_uses_with(new)
            net.graph.erase_node(step)
            step = new
        layer: Any = net.called(step, nn.Module)
        if type(layer).__module__.startswith("convgate."):
            layer.__module__ = WHOLE
        home = getattr(step.target, "__module__", None) or ""
        if step.op == "call_function" and home.startswith("convgate."):
            step.meta["is_wrapped"] = True
    net.graph.lint()
    net.module.recompile()


def _is_gate(net: Net, owner: object) -> bool:
    return (
        isinstance(owner, Step)
        and owner.op == "get_attr"
        and net.constant(owner) is None
        and isinstance(net.module.get_submodule(str(owner.target)), Gate)
    )


def gate_of(gate: Gate, x: Tensor) -> Tensor:
    return gate.gate(x)


def pool_of(gate: PooledGate, x: Tensor) -> tuple[Tensor, ...]:
    return gate.pool(x)


def scales_of(gate: PooledGate, *pooled: Tensor) -> tuple[Tensor, ...]:
    return gate.scales(*pooled)


PARTS: dict[Any, Any] = {"gate": gate_of, "pool": pool_of, "scales": scales_of}


def _scales_channels(gate: Gate) -> bool:
    with torch.no_grad():
        return gate.gate(_probe(gate)).shape[2:] == (1, 1)


def _probe(gate: Gate) -> Tensor:
    """Return an input of the gate, small and not square."""
    like = next(gate.parameters(), torch.empty(0))
    return torch.rand(1, gate.channels, 2, 3, dtype=like.dtype, device=like.device)
