"""The parts of a network that are trained apart: head, inserted gates, norms, backbone."""

from collections.abc import Iterator
from typing import Any, Literal

from torch import nn

from convgate.errors import InputError
from convgate.insertion import inserted
from convgate.tasks.backbone import Backbone, paths_up_to
from convgate.train.sections import TrainableSpec

Part = Literal["head", "gates", "norms", "backbone"]
NORMS = (
    nn.modules.batchnorm._NormBase,  # batch and instance norms
    nn.LayerNorm,
    nn.GroupNorm,
    nn.RMSNorm,
)


class Parts:
    """Which part of a network each of its modules belongs to.

    Below a detector the backbone is its body, and all else is head. A classifier's head is what its
    library calls so, or the last of its children that has parameters.
    """

    def __init__(self, model: nn.Module) -> None:
        bodies = [path for path, part in model.named_modules() if isinstance(part, Backbone)]
        self.body = f"{bodies[0]}.body." if len(bodies) == 1 else ""
        self.heads = () if self.body else heads_of(model)
        self.gates = tuple(path for path, _, _ in inserted(model))
        self.norms = {path for path, part in model.named_modules() if isinstance(part, NORMS)}

    def of(self, module: str) -> Part:
        """Return the part of the module at a path."""
        if below(module, self.gates):
            return "gates"
        outside = self.body and not f"{module}.".startswith(self.body)
        if outside or below(module, self.heads):
            return "head"
        return "norms" if module in self.norms else "backbone"


def below(path: str, tops: tuple[str, ...] | list[str]) -> bool:
    """Tell whether a path is one of ``tops`` or lies below one."""
    return any(path == top or path.startswith(f"{top}.") for top in tops)


def heads_of(model: nn.Module) -> tuple[str, ...]:
    """Return the paths of a classifier's last layers: one, or two where a distilled one has two.

    Raises:
        InputError: if the network is nothing but a head.
    """
    given: Any = getattr(model, "get_classifier", None)
    if given is not None:
        found = given()
        layers = found if isinstance(found, (tuple, list)) else [found]
        paths = tuple(p for p, part in model.named_modules() if any(part is x for x in layers))
    else:
        owners = [n for n, part in model.named_children() if any(True for _ in part.parameters())]
        paths = tuple(owners[-1:]) if len(owners) > 1 else ()
    if not paths:
        raise InputError(
            f"{type(model).__name__}: its head cannot be told from its backbone, so they have one "
            "rate and are trained together; use a network of timm's or ours"
        )
    return paths


def freeze(model: nn.Module, spec: TrainableSpec) -> list[str]:
    """Stop the gradients of all that is not to be trained.

    Returns:
        The paths of the modules to be held in evaluation mode.

    Raises:
        InputError: if nothing is left to train, or the network has no such stages.
    """
    if spec == TrainableSpec():
        return []
    parts = Parts(model)
    early = paths_up_to(model, spec.frozen_stages) if spec.frozen_stages else []
    still = []
    for path, module in model.named_modules():
        part = parts.of(path)
        wanted = part in spec.parts or (part == "norms" and "backbone" in spec.parts)
        trained = wanted and (part in ("head", "gates") or not below(path, early))
        if not trained:
            for parameter in module.parameters(recurse=False):
                parameter.requires_grad_(False)
        if part == "norms":
            held = spec.frozen_statistics or not trained
        else:
            held = not trained and not _around(path, parts.heads)
        if held:
            still.append(path)
    if not any(parameter.requires_grad for parameter in model.parameters()):
        raise InputError(
            f"trainable.parts={list(spec.parts)}: the network has nothing of these to train; add "
            "'head'"
        )
    return still


def _around(path: str, heads: tuple[str, ...]) -> bool:
    """Tell whether a module holds a head, or the dropout before one: these follow the training."""
    holders = {"", *(above for head in heads for above in _above(head))}
    return path in holders or path.rpartition(".")[0] in holders - {""}


def _above(path: str) -> Iterator[str]:
    while path := path.rpartition(".")[0]:
        yield path


def trained_tensors(model: nn.Module, spec: TrainableSpec) -> set[str]:
    """Return the names of the weights and statistics of the trained parts."""
    parts = Parts(model)
    names = model.state_dict()
    return {name for name in names if parts.of(name.rpartition(".")[0]) in spec.parts}
