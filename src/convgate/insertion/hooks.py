"""How a gate runs: from a hook of the module that it is a child of.

The hooks are functions of this file that find the gate on the module they are given. So no key of
the network's state dict changes, and copies, pickles, compiled and exported forms of the network
carry their own gates.
"""

from collections.abc import Callable
from typing import Any, NoReturn

from torch import Tensor, nn

from convgate.errors import InputError
from convgate.insertion.module_tree import PLACES

Arguments = tuple[Any, ...]


def gate_output(module: Any, args: Arguments, output: Tensor) -> Tensor:
    return module.gate(output)


def gate_output_nhwc(module: Any, args: Arguments, output: Tensor) -> Tensor:
    return module.gate(output.permute(0, 3, 1, 2)).permute(0, 2, 3, 1)


def gate_output_nlc(module: Any, args: Arguments, output: Tensor) -> Tensor:
    return _on_tokens(module.gate, output)


def gate_input(module: Any, args: Arguments) -> Arguments:
    return module.input_gate(args[0]), *args[1:]


def gate_input_nhwc(module: Any, args: Arguments) -> Arguments:
    return module.input_gate(args[0].permute(0, 3, 1, 2)).permute(0, 2, 3, 1), *args[1:]


def gate_input_nlc(module: Any, args: Arguments) -> Arguments:
    return _on_tokens(module.input_gate, args[0]), *args[1:]


def gate_part(module: Any, args: Arguments, output: Any) -> Any:
    gate = module.part_gate
    return _exchanged(output, gate.part, gate(output[gate.part]))


def gate_part_nhwc(module: Any, args: Arguments, output: Any) -> Any:
    gate = module.part_gate
    y = gate(output[gate.part].permute(0, 3, 1, 2)).permute(0, 2, 3, 1)
    return _exchanged(output, gate.part, y)


def gate_part_nlc(module: Any, args: Arguments, output: Any) -> Any:
    gate = module.part_gate
    return _exchanged(output, gate.part, _on_tokens(gate, output[gate.part]))


def _exchanged(output: Any, part: int, y: Tensor) -> Any:
    """Return a tuple or a list with another tensor as one of its parts."""
    parts = [*output[:part], y, *output[part + 1 :]]
    return parts if isinstance(output, list) else tuple(parts)


def _on_tokens(gate: Any, tokens: Tensor) -> Tensor:
    """Run a gate on (N, H W, C), whose H and W it carries from its insertion."""
    n, length, c = tokens.shape
    height, width = gate.grid
    if length != height * width:
        raise InputError(
            f"a gate was inserted for maps of {height} x {width} and meets {length} tokens; "
            "insert it with an example_input of this size"
        )
    x = tokens.transpose(1, 2).reshape(n, c, height, width)
    return gate(x).flatten(2).transpose(1, 2)


OUTPUT_HOOKS = {"NCHW": gate_output, "NHWC": gate_output_nhwc, "NLC": gate_output_nlc}
INPUT_HOOKS = {"NCHW": gate_input, "NHWC": gate_input_nhwc, "NLC": gate_input_nlc}
PART_HOOKS = {"NCHW": gate_part, "NHWC": gate_part_nhwc, "NLC": gate_part_nlc}
BY_PLACE: dict[str, dict[str, Callable[..., Any]]]
BY_PLACE = {"output": OUTPUT_HOOKS, "input": INPUT_HOOKS, "part": PART_HOOKS}
HOOKS = tuple(hook for hooks in BY_PLACE.values() for hook in hooks.values())


def hook(carrier: nn.Module, where: str, layout: str) -> None:
    """Let the gate on a module's output, input or returned part run."""
    if where == "input":
        carrier.register_forward_pre_hook(INPUT_HOOKS[layout])
    else:
        carrier.register_forward_hook(BY_PLACE[where][layout])


def refuse_script() -> NoReturn:
    """Stand on a gate as the method that `torch.jit.script` calls before it compiles a module."""
    raise InputError(
        "torch.jit.script cannot compile the hooks that inserted gates run from; use "
        "torch.jit.trace(model, x), torch.export.export(model, (x,)), or convgate.export"
    )


def unhook(carrier: nn.Module, name: str) -> None:
    """Let the gate called ``name`` on a module no longer run."""
    hooks, own = hooks_of(carrier, name), BY_PLACE[PLACES[name]].values()
    for key in [key for key, hook in hooks.items() if hook in own]:
        del hooks[key]


def is_hooked(carrier: nn.Module, name: str) -> bool:
    """Whether the gate called ``name`` on a module runs."""
    own = BY_PLACE[PLACES[name]].values()
    return any(hook in own for hook in hooks_of(carrier, name).values())


def hooks_of(carrier: nn.Module, name: str) -> dict[int, Any]:
    """Return the hooks of a module among which that of its gate called ``name`` is."""
    return carrier._forward_pre_hooks if PLACES[name] == "input" else carrier._forward_hooks
