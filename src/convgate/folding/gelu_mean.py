"""GELU and the mean that a gate takes of it, in one pass.

    y = gelu(x),  m = mean_p(y)

have one operator (`convgate.kernels.gelu_mean`): where its kernel runs, x is read and y written
once. Elsewhere both stay what they were, one after the other.
"""

from typing import Any

from torch import Tensor

from convgate.folding.inplace import gelu_
from convgate.folding.net import Net, Step, numel
from convgate.folding.steps import TO_FIRST, TO_LAST, permutation
from convgate.gates import PooledGate
from convgate.gates.pooled import mean_pool
from convgate.kernels.float16 import matched
from convgate.kernels.gelu_mean import gelu_mean
from convgate.kernels.path import takes_fused

IDENTITY = "GELU with the gate's mean"


def gelu_and_mean(x: Tensor, last: bool) -> tuple[Tensor, Tensor]:
    """Return gelu(x) and its mean (N, C, 1, 1), for x (N, C, H, W), or (N, H, W, C) if ``last``.

    In plain torch y lies where x was.
    """
    if not takes_fused(x, "gelu_mean"):
        y = gelu_(x)
        return y, mean_pool(y.permute(TO_FIRST) if last else y)
    y, mean = gelu_mean(x.permute(TO_FIRST) if last else x)
    return y.permute(TO_LAST) if last else y, matched(mean, x)[:, :, None, None]


def fuse_gelu_means(net: Net) -> None:
    """Join every GELU to the mean that a gate takes of it, if the kernel runs on the example.

    The GELU must be one that may be stored over its input.
    """
    if not takes_fused(net.example, "gelu_mean"):
        return
    for step in list(net.graph.nodes):
        pool = _pool_of(net, step) if step.target is gelu_ else None
        if pool is None:
            continue
        (mean,) = pool.users
        last = pool.args[1] is not step
        with net.graph.inserting_before(step):
            both = net.graph.call_function(gelu_and_mean, (step.args[0], last))
            y, m = net.item(both, 0), net.item(both, 1)
        net.note_fold(step, IDENTITY, 3 * numel(step), 2 * numel(step))
        mean.replace_all_uses_with(m)
        step.replace_all_uses_with(y)
    net.refresh()


def _pool_of(net: Net, step: Step) -> Any:
    """Return the step that takes the mean of a GELU for a gate, if one does."""
    views = [user for user in step.users if permutation(user) == TO_FIRST]
    for user in [user for view in (step, *views) for user in view.users]:
        if user.op == "call_method" and user.target == "pool" and len(user.users) == 1:
            owner: Any = user.args[0]
            gate = net.module.get_submodule(owner.target)
            if isinstance(gate, PooledGate) and gate.pools_mean:
                return user
    return None
