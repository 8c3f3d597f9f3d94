"""Which module can carry a gate for a tensor: the one that gives it, or the one that takes it.

A module that returns a tuple or a list gives each of its tensors that it does not use itself.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from functools import cached_property

import torch
from torch import nn

from convgate.insertion.axes import LAYOUTS
from convgate.insertion.flow import Flow
from convgate.insertion.module_tree import CHILDREN, MARK, TensorSite, child, is_container
from convgate.insertion.tape import Value


class Carriers:
    """The modules of a traced network that can carry a gate."""

    def __init__(self, model: nn.Module, flow: Flow) -> None:
        self.model, self.flow = model, flow

    def first(self, values: Iterable[Value]) -> TensorSite | None:
        """Return the first tensor that a gate can be put on; an identity carries one at last."""
        groups = list(self._alike(values))
        usual = (
            tensor
            for group in groups
            for find in (self.giving, self.returning, self.taking)
            for tensor in map(find, group)
        )
        last = (self.taking(value, identity=True) for group in groups for value in group)
        return next(filter(None, usual), None) or next(filter(None, last), None)

    def _alike(self, values: Iterable[Value]) -> Iterator[list[Value]]:
        """Yield the values in groups that only identities tell apart, each group in order."""
        group: list[Value] = []
        for value in values:
            if group and not (self._repeats(value, group[-1]) or self._repeats(group[-1], value)):
                yield sorted(group)
                group = []
            group.append(value)
        yield sorted(group)

    def _repeats(self, value: Value, earlier: Value) -> bool:
        op = self.flow.tape.op(value)
        return op is not None and op.name == "alias" and op.inputs == (earlier,)

    def giving(self, value: Value) -> TensorSite | None:
        """Return the tensor as the output of a module."""
        calls = [c for c in self._by_output.get(value, []) if self._is_fit(c, "output")]
        if not calls:
            return None
        best = calls[-1]  # the innermost, or a norm around its activation
        for outer in reversed(calls[:-1]):
            if self.flow.tape.calls[best].parent != outer or not self._normalises(outer):
                break
            best = outer
        return self._site(best, "output", value)

    def returning(self, value: Value) -> TensorSite | None:
        """Return the tensor as a part of what a module returns, if all its users are outside."""
        tape = self.flow.tape
        places = [tape.producer.get(value, -1), *tape.users[value]]
        for index in reversed(self._by_part.get(value, [])):
            call = tape.calls[index]
            made, *used = [call.first <= op < call.last for op in places]
            if made and not any(used) and self._is_fit(index, "part"):
                return self._site(index, "part", value)
        return None

    def taking(self, value: Value, *, identity: bool = False) -> TensorSite | None:
        """Return the tensor as the input of the one module that uses it."""
        tape = self.flow.tape
        users = tape.users[value]
        for index in reversed(self._by_input.get(value, [])):
            call = tape.calls[index]
            alone = all(call.first <= user < call.last for user in users)
            if alone and self._is_fit(index, "input", identity):
                return self._site(index, "input", value)
        return None

    def of_module(self, path: str, value: Value) -> TensorSite | None:
        """Return a value as the output of a certain module, if that can carry a gate."""
        calls = (i for i in self._by_output.get(value, []) if self.flow.tape.calls[i].path == path)
        found = next(calls, None)
        fit = found is not None and self._is_fit(found, "output")
        return self._site(found, "output", value) if fit and found is not None else None

    def _site(self, index: int, where: str, value: Value) -> TensorSite | None:
        axes = self.flow.axes.get(value)
        if axes is None or axes.layout not in LAYOUTS:
            return None
        call, width = self.flow.tape.calls[index], self.flow.channels(value)
        part = call.parts.index(value) if where == "part" else 0
        return TensorSite(call.path, where, width, axes.layout, axes.grid, part)  # type: ignore[arg-type]

    def _is_fit(self, index: int, where: str, identity: bool = False) -> bool:
        call = self.flow.tape.calls[index]
        if not call.path or self._runs[call.path] != 1:
            return False
        if self._is_identity(index) and not identity:
            return False
        module = child(self.model, call.path)
        if module is None or isinstance(module, torch.jit.ScriptModule) or is_container(module):
            return False
        own = getattr(module, CHILDREN[where], None)
        return own is None or (isinstance(own, nn.Module) and MARK in vars(own))

    def _is_identity(self, index: int) -> bool:
        """Whether a call gave what it took, as an identity does, or a dropout in evaluation."""
        call = self.flow.tape.calls[index]
        op = self.flow.tape.op(call.given) if call.given is not None else None
        return op is not None and op.name == "alias" and op.inputs == (call.taken,)

    def _normalises(self, index: int) -> bool:
        """Whether a module has a norm in its own code, as one with its activation inside."""
        call, ops = self.flow.tape.calls[index], self.flow.tape.ops
        own = (op for op in ops[call.first : call.last] if op.call == index)
        return any(self.flow.kind(op) == "norm" for op in own)

    @cached_property
    def _runs(self) -> Counter[str]:
        return Counter(call.path for call in self.flow.tape.calls)

    @cached_property
    def _by_output(self) -> dict[Value, list[int]]:
        return _grouped((call.given, i) for i, call in enumerate(self.flow.tape.calls))

    @cached_property
    def _by_input(self) -> dict[Value, list[int]]:
        return _grouped((call.taken, i) for i, call in enumerate(self.flow.tape.calls))

    @cached_property
    def _by_part(self) -> dict[Value, list[int]]:
        calls = enumerate(self.flow.tape.calls)
        return _grouped((v, i) for i, call in calls for v in dict.fromkeys(call.parts))


def _grouped(pairs: Iterator[tuple[Value | None, int]]) -> dict[Value, list[int]]:
    groups: dict[Value, list[int]] = {}
    for value, index in pairs:
        if value is not None:
            groups.setdefault(value, []).append(index)
    return groups
