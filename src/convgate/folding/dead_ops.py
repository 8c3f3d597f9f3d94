"""Steps that do nothing at inference: identities, dropout, skipped branches.

    dropout(x) = x,  drop_path(x) = x    in evaluation

They stand between steps that fold into each other.
"""

from typing import Any

from torch import fx, nn

from convgate.folding.net import Net, Step

NO_OPS = (nn.Identity, nn.modules.dropout._DropoutNd)


def remove_dead_ops(net: Net) -> None:
    """Remove every step that gives its input."""
    for step in list(net.graph.nodes):
        x: Any = step.args[0] if step.args else None
        if isinstance(x, fx.Node) and (_is_no_op(net, step) or _is_skipped(step)):
            step.replace_all_uses_with(x)
            net.graph.erase_node(step)
    net.refresh()


def _is_no_op(net: Net, step: Step) -> bool:
    module = net.called(step, nn.Module)
    return isinstance(module, NO_OPS)


def _is_skipped(step: Step) -> bool:
    """Whether a step is torchvision's stochastic depth, told that it does not train."""
    name = getattr(step.target, "__name__", "")
    training = step.kwargs.get("training", step.args[3] if len(step.args) > 3 else True)
    return step.op == "call_function" and name == "stochastic_depth" and training is False
