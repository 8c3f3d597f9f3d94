"""Put a gate on a module, find the gates of a network, take them off.

A gate is a child of the module it gates, and runs from a hook that is a function of this file and
finds the gate on the module it is given. So no key of the network's state dict changes, and copies,
pickles, compiled and exported forms of the network carry their own gates.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Literal

from torch import Tensor, nn

from convgate.errors import InputError
from convgate.insertion.module_tree import CHILDREN, MARK, child, join
from convgate.insertion.sites import Site


@dataclass(frozen=True)
class Insertion:
    """What an inserted gate is and where it was put."""

    site: Site  # the site, as named when the gate was put there
    gate: str  # its registered name
    options: Mapping[str, object]  # its options
    start: str  # "identity" or "paper"
    holds: Literal["site", "slot"] = "site"  # beside a module, or in the place of one


def gate_output(module: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return module.gate(output)


def gate_output_nhwc(module: Any, args: tuple[Tensor, ...], output: Tensor) -> Tensor:
    return module.gate(output.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def gate_input(module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return module.input_gate(args[0]), *args[1:]


def gate_input_nhwc(module: Any, args: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    return module.input_gate(args[0].permute(0, 3, 1, 2)).permute(0, 2, 3, 1), *args[1:]


OUTPUT_HOOKS = {"NCHW": gate_output, "NHWC": gate_output_nhwc}
INPUT_HOOKS = {"NCHW": gate_input, "NHWC": gate_input_nhwc}
HOOKS = (*OUTPUT_HOOKS.values(), *INPUT_HOOKS.values())


def check_free(model: nn.Module, site: Site) -> None:
    """Ask that the site's module has no gate there yet, nor anything of the gate's name."""
    name = CHILDREN[site.where]
    present = getattr(model.get_submodule(site.path), name, None)
    if present is None:
        return
    insertion = vars(present).get(MARK)
    if isinstance(insertion, Insertion):
        raise InputError(
            f"{site.path} carries the gate {insertion.gate!r} already; "
            "use replace to exchange it or remove to take it off"
        )
    raise InputError(
        f"{site.path} has a part {name!r} of its own, so no gate can be put there; "
        "name a neighbouring module"
    )


def attach(model: nn.Module, gate: nn.Module, insertion: Insertion) -> None:
    site = insertion.site
    carrier = model.get_submodule(site.path)
    mark(gate, insertion)
    carrier.add_module(CHILDREN[site.where], gate)
    if site.where == "output":
        carrier.register_forward_hook(OUTPUT_HOOKS[site.layout])
    else:
        carrier.register_forward_pre_hook(INPUT_HOOKS[site.layout])


def mark(gate: nn.Module, insertion: Insertion) -> None:
    """Write on a gate what it is, and let it keep its values when a checkpoint has none for it."""
    setattr(gate, MARK, insertion)
    gate.register_load_state_dict_pre_hook(keep_values)  # type: ignore[no-untyped-call]


def detach(model: nn.Module, path: str) -> None:
    above, _, name = path.rpartition(".")
    carrier = model.get_submodule(above)
    unhook(carrier, name)
    delattr(carrier, name)


def unhook(carrier: nn.Module, name: str) -> None:
    """Let the gate called ``name`` on a module no longer run."""
    hooks: dict[int, Any] = (
        carrier._forward_hooks if name == CHILDREN["output"] else carrier._forward_pre_hooks
    )
    for key in [key for key, hook in hooks.items() if hook in HOOKS]:
        del hooks[key]


def inserted(model: nn.Module) -> Iterator[tuple[str, nn.Module, Insertion]]:
    """Yield the path of every inserted gate, the gate, and its record."""
    for path, module in model.named_modules():
        insertion = vars(module).get(MARK)
        if isinstance(insertion, Insertion):
            yield path, module, insertion


def put(model: nn.Module, path: str, module: nn.Module) -> None:
    above, _, name = path.rpartition(".")
    parent = child(model, above)
    if parent is None or not name:
        raise InputError(f"the network has no part {join(above, name)!r} that could be replaced")
    parent._modules[name] = module


def keep_values(gate: nn.Module, state_dict: dict[str, Any], prefix: str, *_: object) -> None:
    """Before loading: a state dict without any key of the gate leaves its values as they are."""
    if not any(key.startswith(prefix) for key in state_dict):
        state_dict.update(gate.state_dict(prefix=prefix, keep_vars=True))
