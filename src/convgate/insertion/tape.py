"""Run a network once, and write down every operation on what comes from its input.

The forward is simply run, without data on the meta device where it allows that, so whatever Python
it is made of is followed: no form of the code is asked for.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

Value = int
"""A tensor at one moment: what changes it in place makes another value of it."""


@dataclass
class Op:
    """One operation: which values went in, and which came out."""

    name: str  # as "convolution", without its overload and the "_" of in-place forms
    args: tuple[Any, ...]  # numbers and flags as given, a `Value` or a shape for each tensor
    inputs: tuple[Value, ...]  # what comes from the network's input; parameters do not
    outputs: tuple[Value, ...]
    call: int  # the innermost module call in which it happened


@dataclass
class Call:
    """One call of a module."""

    path: str
    kind: type[nn.Module]
    is_leaf: bool  # whether the module has no children
    parent: int  # the call around it; -1 for the network's own
    first: int  # its operations are ``ops[first:last]``
    last: int = -1
    taken: Value | None = None  # its first argument, if that is a tensor that comes from the input
    given: Value | None = None  # what it returns, if that is one tensor
    parts: tuple[Value | None, ...] = ()  # what it returns, if that is a tuple or a list


@dataclass
class Tape:
    """What a network did with one input."""

    ops: list[Op] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    producer: dict[Value, int] = field(default_factory=dict)  # index of the operation
    shape: dict[Value, tuple[int, ...]] = field(default_factory=dict)
    users: dict[Value, list[int]] = field(default_factory=dict)  # indices of operations

    def inputs(self, value: Value) -> tuple[Value, ...]:
        """Return the values that a value was computed from; none for the network's input."""
        index = self.producer.get(value)
        return self.ops[index].inputs if index is not None else ()

    def op(self, value: Value) -> Op | None:
        index = self.producer.get(value)
        return self.ops[index] if index is not None else None

    def around(self, call: int) -> Iterator[int]:
        """Yield a call and all calls around it, from the inside out."""
        while call >= 0:
            yield call
            call = self.calls[call].parent


def run(model: nn.Module, inputs: tuple[Any, ...], forward: Callable[..., Any]) -> Tape:
    """Return the tape of ``forward(*inputs)``, which calls the model or parts of it.

    Where it fails after all convolutions have run, as a detector does that looks at what it found,
    the tape ends there.

    Raises:
        Exception: whatever the forward raises before.
    """
    recorder = _Recorder()
    for leaf in tree_leaves(inputs):
        if isinstance(leaf, Tensor):
            recorder.enter(leaf)
    with ExitStack() as stack:
        stack.enter_context(_watched(model, recorder))
        stack.enter_context(torch.no_grad())
        stack.enter_context(recorder)
        recorder.before("", model, inputs)
        try:
            recorder.after(forward(*inputs))
        except Exception:
            if not recorder.has_run(model):
                raise
            for index in recorder.open:
                recorder.tape.calls[index].last = len(recorder.tape.ops)
    return recorder.tape


class _Recorder(TorchDispatchMode):  # type: ignore[no-untyped-call]
    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.tape = Tape()
        self.values: dict[int, Value] = {}
        self.kept: list[Tensor] = []  # so that no id is given to two tensors
        self.open: list[int] = []

    def has_run(self, model: nn.Module) -> bool:
        """Whether every convolution of a network has run."""
        convs = {path for path, m in model.named_modules() if isinstance(m, nn.Conv2d)}
        return bool(convs) and convs <= {call.path for call in self.tape.calls}

    def enter(self, tensor: Tensor) -> Value:
        """Return a new value for a tensor."""
        value = len(self.tape.shape)
        self.values[id(tensor)] = value
        self.kept.append(tensor)
        self.tape.shape[value] = tuple(tensor.shape)
        self.tape.users[value] = []
        return value

    def value(self, tensor: object) -> Value | None:
        return self.values.get(id(tensor)) if isinstance(tensor, Tensor) else None

    def __torch_dispatch__(
        self, func: Any, types: Any, args: tuple[Any, ...] = (), kwargs: Any = None
    ) -> Any:
        tensors = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        known = [self.value(tensor) for tensor in tensors]
        result = func(*args, **(kwargs or {}))
        inputs = tuple(dict.fromkeys(value for value in known if value is not None))
        if inputs:
            self._note(func, args, inputs, result)
        return result

    def _note(
        self, func: Any, args: tuple[Any, ...], inputs: tuple[Value, ...], result: Any
    ) -> None:
        outputs = [leaf for leaf in tree_leaves(result) if isinstance(leaf, Tensor)]
        name = func.overloadpacket.__name__
        changed = args[0] if _writes_first(func) and isinstance(args[0], Tensor) else None
        if changed is not None and name.startswith("copy"):
            inputs = tuple(v for v in inputs if v != self.value(changed)) or inputs
        self._append(name.rstrip("_"), tuple(map(self._plain, args)), inputs, outputs)
        base = changed._base if changed is not None else None
        if base is not None:  # what looks at a part of another tensor changes that one too
            both = (self.value(base), self.value(changed))
            self._append("scatter", (), tuple(v for v in both if v is not None), [base])

    def _append(
        self,
        name: str,
        args: tuple[Any, ...],
        inputs: tuple[Value, ...],
        outputs: list[Tensor],
    ) -> None:
        tape, index = self.tape, len(self.tape.ops)
        for value in inputs:
            tape.users[value].append(index)
        made = tuple(self.enter(tensor) for tensor in outputs)
        tape.producer.update(dict.fromkeys(made, index))
        call = self.open[-1] if self.open else -1
        tape.ops.append(Op(name, args, inputs, made, call))

    def _plain(self, argument: Any) -> Any:
        return tuple(argument.shape) if isinstance(argument, Tensor) else argument

    def before(self, path: str, module: nn.Module, args: tuple[Any, ...]) -> None:
        parent = self.open[-1] if self.open else -1
        is_leaf = next(module.children(), None) is None
        call = Call(path, type(module), is_leaf, parent, len(self.tape.ops))
        call.taken = self.value(args[0]) if args else None
        self.open.append(len(self.tape.calls))
        self.tape.calls.append(call)

    def after(self, output: Any) -> Any:
        call = self.tape.calls[self.open[-1]]
        value = self.value(output)
        if value is not None and value == call.taken:  # an identity gets a value of its own
            output = torch.ops.aten.alias(output)
            value = self.value(output)
        call.given, call.last = value, len(self.tape.ops)
        if type(output) in (tuple, list):
            call.parts = tuple(map(self.value, output))
        self.open.pop()
        return output


def _writes_first(func: Any) -> bool:
    arguments = func._schema.arguments
    info = arguments[0].alias_info if arguments else None
    return bool(info is not None and info.is_write)


@contextmanager
def _watched(model: nn.Module, recorder: _Recorder) -> Iterator[None]:
    with ExitStack() as stack:
        for path, module in model.named_modules():
            if not path or isinstance(module, torch.jit.ScriptModule):
                continue
            stack.enter_context(
                module.register_forward_pre_hook(
                    lambda module, args, path=path: recorder.before(path, module, args)
                )
            )
            stack.enter_context(
                module.register_forward_hook(lambda _module, _args, output: recorder.after(output))
            )
        yield
