"""How a gate runs: from a hook of the module that it is a child of.

The hooks are functions of this file that find the gate on the module they are given. So no key of
the network's state dict changes, and copies, pickles, compiled and exported forms of the network
carry their own gates.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, NoReturn

from torch import Tensor, nn

from convgate.errors import InputError
from convgate.insertion.module_tree import CHILDREN, MARK

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
HOOKS = (*OUTPUT_HOOKS.values(), *INPUT_HOOKS.values())


def hook(carrier: nn.Module, where: str, layout: str) -> None:
    """Let the gate on a module's output or input run."""
    if where == "output":
        carrier.register_forward_hook(OUTPUT_HOOKS[layout])
    else:
        carrier.register_forward_pre_hook(INPUT_HOOKS[layout])


def refuse_script() -> NoReturn:
    """Stand on a gate as the method that `torch.jit.script` calls before it compiles a module."""
    raise InputError(
        "torch.jit.script cannot compile the hooks that inserted gates run from; use "
        "torch.jit.trace(model, x), torch.export.export(model, (x,)), or convgate.export"
    )


def unhook(carrier: nn.Module, name: str) -> None:
    """Let the gate called ``name`` on a module no longer run."""
    hooks = _hooks(carrier, name)
    for key in [key for key, hook in hooks.items() if hook in HOOKS]:
        del hooks[key]


def is_hooked(carrier: nn.Module, name: str) -> bool:
    """Whether the gate called ``name`` on a module runs."""
    return any(hook in HOOKS for hook in _hooks(carrier, name).values())


def _hooks(carrier: nn.Module, name: str) -> dict[int, Any]:
    return carrier._forward_hooks if name == CHILDREN["output"] else carrier._forward_pre_hooks


@contextmanager
def without_gates(model: nn.Module) -> Iterator[None]:
    """Let no inserted gate of a network run within the block."""
    taken: list[tuple[dict[int, Any], dict[int, Any]]] = []
    for module in model.modules():
        for name in CHILDREN.values():
            gate = module._modules.get(name)
            if gate is not None and MARK in vars(gate):
                hooks = _hooks(module, name)
                taken.append((hooks, dict(hooks)))
                unhook(module, name)
    try:
        yield
    finally:
        for hooks, all_ in reversed(taken):
            hooks.clear()
            hooks.update(all_)
