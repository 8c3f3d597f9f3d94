"""The flow of a traced network: which value all paths to another pass, and the steps between them.

A value dominates another if no path from the network's input to the other goes around it. The
dominators of a value stand in a line; what lies between two neighbours in it is one step: a single
operation, or several paths that part and meet.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import prod
from typing import Any, Literal

from convgate.insertion.axes import MATMULS, RESHAPES, Axes, follow
from convgate.insertion.tape import Op, Tape, Value

Kind = Literal[
    "spatial", "pointwise", "norm", "act", "view", "pool", "scale", "part", "mix", "reduce",
    "attention", "join", "other",
]  # fmt: skip

NORMS = {
    "native_batch_norm", "_native_batch_norm_legit", "_native_batch_norm_legit_no_training",
    "_batch_norm_no_update", "cudnn_batch_norm", "native_layer_norm", "native_group_norm",
    "_fused_rms_norm", "batch_norm", "_batch_norm_with_update",
}  # fmt: skip
BATCH_NORMS = {name for name in NORMS if "batch_norm" in name}
ACTS = {
    "relu", "gelu", "silu", "hardswish", "hardsigmoid", "sigmoid", "tanh", "leaky_relu", "elu",
    "celu", "mish", "softplus", "hardtanh", "clamp", "clamp_min", "clamp_max", "_prelu_kernel",
    "threshold", "exp", "pow", "sqrt", "rsqrt", "abs", "log_sigmoid_forward", "erf", "neg",
    "reciprocal", "square", "log", "softshrink", "hardshrink", "sin", "cos",
}  # fmt: skip
VIEWS = RESHAPES | {
    "alias", "permute", "transpose", "t", "clone", "contiguous", "_to_copy", "detach", "dropout",
    "native_dropout", "lift_fresh", "constant_pad_nd", "reflection_pad2d", "flip",
    "native_channel_shuffle",
}  # fmt: skip
PARTS = {"split", "split_with_sizes", "chunk", "select", "unbind", "narrow", "index"}
POOLS = {
    "max_pool2d_with_indices", "avg_pool2d", "upsample_bilinear2d", "upsample_nearest2d",
    "upsample_bicubic2d", "_upsample_nearest_exact2d", "pixel_shuffle", "pixel_unshuffle",
}  # fmt: skip
REDUCES = {
    "mean", "sum", "amax", "amin", "max", "var", "std", "var_mean", "linalg_vector_norm", "norm",
    "_adaptive_avg_pool2d", "adaptive_max_pool2d", "logsumexp", "prod",
}  # fmt: skip
MIXES = {"bmm", "baddbmm", "_softmax", "roll", "_fft_r2c", "_fft_c2c", "_fft_c2r", "col2im"}
SUMS = {"add", "sub", "addcmul", "rsub"}
PRODUCTS = {"mul", "div", "addcmul"}
LINEAR_KINDS = {"spatial", "pointwise", "view", "scale"}


@dataclass(frozen=True)
class Step:
    """What lies between a value and its nearest dominator."""

    kind: Kind
    before: Value
    after: Value
    ops: tuple[Op, ...]  # in order
    kernel: int = 0  # positions that its largest convolution looks at; 0 without any

    @property
    def is_single(self) -> bool:
        return len(self.ops) == 1


class Flow:
    """A tape with dominators and axes."""

    def __init__(self, tape: Tape, image: Value = 0) -> None:
        self.tape = tape
        self.axes: dict[Value, Axes] = follow(tape, image)
        self.dominator: dict[Value, Value] = {}
        self.depth: dict[Value, int] = {-1: 0}
        for value in tape.shape:
            self.dominator[value] = self.common(tape.inputs(value))
            self.depth[value] = self.depth[self.dominator[value]] + 1
        self._steps: dict[Value, Step] = {}
        self.kept: dict[str, Any] = {}  # what is derived from it, by name

    def common(self, values: Sequence[Value]) -> Value:
        """Return the nearest value that dominates, or is, all of them; -1 where there is none."""
        if not values:
            return -1
        found = values[0]
        for other in values[1:]:
            while found != other:
                if self.depth[found] >= self.depth[other]:
                    found = self.dominator[found]
                else:
                    other = self.dominator[other]
        return found

    def dominates(self, first: Value, last: Value) -> bool:
        while self.depth[last] > self.depth[first]:
            last = self.dominator[last]
        return first == last

    def between(self, first: Value, last: Value) -> list[int]:
        """Return the operations on all paths from one value to another, in order."""
        found: set[int] = set()
        open_ = [last]
        while open_:
            value = open_.pop()
            index = self.tape.producer.get(value)
            if value == first or index is None or index in found:
                continue
            found.add(index)
            open_.extend(self.tape.ops[index].inputs)
        return sorted(found)

    def chain(self, first: Value, last: Value) -> list[Step]:
        """Return the steps from a value to one that it dominates."""
        steps: list[Step] = []
        while last != first:
            steps.append(self.step(last))
            last = self.dominator[last]
        return steps[::-1]

    def step(self, value: Value) -> Step:
        """Return the step that ends at a value."""
        if value not in self._steps:
            before = self.dominator[value]
            ops = tuple(self.tape.ops[i] for i in self.between(before, value))
            self._steps[value] = Step(
                self._kind(before, value, ops), before, value, ops, max(map(kernel, ops), default=0)
            )
        return self._steps[value]

    def is_map(self, value: Value) -> bool:
        axes = self.axes.get(value)
        return axes is not None and axes.layout in ("NCHW", "NHWC", "NLC", "NCL")

    def grid(self, value: Value) -> tuple[int, int]:
        return self.axes[value].grid

    def channels(self, value: Value) -> int:
        return self.tape.shape[value][self.axes[value].layout.index("C")]

    def users(self, value: Value) -> list[Op]:
        return [self.tape.ops[index] for index in self.tape.users[value]]

    def kind(self, op: Op) -> Kind:
        """Return what a single operation does to a map."""
        name = op.name
        if name == "convolution":
            return "spatial" if kernel(op) > 1 else "pointwise"
        if name in MATMULS:
            rows = any(self.axes[v].layout == "RC" for v in op.inputs if v in self.axes)
            return "pointwise" if rows and len(op.inputs) == 1 else "mix"
        if name in NORMS:
            return "norm"
        if name in REDUCES:
            return "reduce" if self._shrinks_map(op) else "other"
        if name in SUMS | PRODUCTS:
            return _meets(op, "scale")
        if name in ("cat", "slice"):
            return self._slice_kind(op) if name == "slice" else _meets(op)
        if name in MIXES or name.startswith("_scaled_dot_product"):
            return "mix"
        kinds: dict[Kind, set[str]] = {"act": ACTS, "view": VIEWS, "part": PARTS, "pool": POOLS}
        return next((kind for kind, names in kinds.items() if name in names), "other")

    def _slice_kind(self, op: Op) -> Kind:
        """Return "pool" for every second position, "view" for all of it, "part" for channels."""
        axes, dim = self.axes.get(op.inputs[0]), op.args[1] if len(op.args) > 1 else 0
        if self.tape.shape[op.inputs[0]] == self.tape.shape[op.outputs[0]]:
            return "view"
        return "pool" if axes is not None and axes.layout[dim : dim + 1] in ("H", "W") else "part"

    def _shrinks_map(self, op: Op) -> bool:
        axes = self.axes.get(op.inputs[0])
        if axes is None or "pool2d" in op.name or not axes.layout:
            return True
        over = next((a for a in op.args[1:] if isinstance(a, (list, int)) and a is not True), None)
        if op.name == "linalg_vector_norm":
            over = op.args[2] if len(op.args) > 2 else None
        if over is None:
            return True
        letters = [axes.layout[i] for i in ([over] if isinstance(over, int) else over)]
        return any(letter in "HWL" for letter in letters)

    def _kind(self, before: Value, after: Value, ops: tuple[Op, ...]) -> Kind:
        if len(ops) == 1 and len(ops[0].inputs) == 1:
            return self.kind(ops[0])
        kinds = {self.kind(op) for op in ops}
        if self._is_attention(before, after, ops, kinds):
            return "attention"
        if kinds & {"spatial", "mix", "pool"}:
            return "spatial"
        if "pointwise" in kinds:
            return "pointwise"
        if "reduce" in kinds:
            return "other"
        if kinds <= {"act", "scale", "join", "view"}:
            return "act"
        return "norm" if kinds <= {"act", "scale", "join", "view", "other", "norm"} else "other"

    def _is_attention(
        self, before: Value, after: Value, ops: tuple[Op, ...], kinds: set[Kind]
    ) -> bool:
        """Whether the step is a product of a value with a function of its own pooled self."""
        last = ops[-1]
        if last.name not in SUMS | PRODUCTS or len(last.inputs) < 2:
            return False
        if self.tape.shape.get(before) != self.tape.shape[after]:
            return False
        others = [v for v in last.inputs if not self._is_same(before, v)]
        if len(others) == len(last.inputs):
            return False
        if "reduce" in kinds and not kinds & {"spatial", "mix"}:
            return True
        size = prod(self.tape.shape[before])
        return all(
            any(4 * prod(self.tape.shape[s.after]) <= size for s in self.chain(before, v))
            for v in others
        ) and bool(others)

    def _is_same(self, before: Value, value: Value) -> bool:
        """Whether a value is an earlier one but for its form or a constant factor."""
        while value != before:
            op = self.tape.op(value)
            if op is None or len(op.inputs) != 1 or self.kind(op) not in ("view", "scale"):
                return False
            value = op.inputs[0]
        return True

    def is_linear(self, first: Value, last: Value) -> bool:
        """Whether nothing but convolutions, batch norms and sums lies between two values."""
        for index in self.between(first, last):
            op = self.tape.ops[index]
            plain = self.kind(op) in LINEAR_KINDS or op.name in BATCH_NORMS | SUMS | {"avg_pool2d"}
            if not plain:
                return False
        return True

    @cached_property
    def sums(self) -> list["Sum"]:
        """The sums of maps, those of more than two operands as one."""
        return self._sums(lambda v: self.is_map(v) and self.channels(v) > 1)

    @cached_property
    def sums_of_tokens(self) -> list["Sum"]:
        """The sums of tensors (N, ..., C) that are no maps."""
        return self._sums(lambda v: len(self.tape.shape[v]) > 2 and not self.is_map(v))

    def _sums(self, counts: Callable[[Value], bool]) -> list["Sum"]:
        inner: set[Value] = set()
        found: dict[Value, Sum] = {}
        for index, op in enumerate(self.tape.ops):
            if op.name not in ("add", "addcmul") or len(op.inputs) < 2:
                continue
            value = op.outputs[0]
            whole = self.tape.shape[value]
            if not all(counts(v) and self.tape.shape[v] == whole for v in op.inputs):
                continue
            operands: list[Value] = []
            for v in op.inputs:
                part = found.get(v)
                alone = part is not None and len(self.tape.users[v]) == 1
                inner |= {v} if alone else set()
                operands += part.operands if part is not None and alone else (v,)
            found[value] = Sum(index, value, tuple(dict.fromkeys(operands)))
        return [each for value, each in found.items() if value not in inner]


@dataclass(frozen=True)
class Sum:
    """A sum of maps of one shape."""

    index: int  # of its last operation
    value: Value
    operands: tuple[Value, ...]


def _meets(op: Op, alone: Kind = "view") -> Kind:
    return alone if len(op.inputs) == 1 else "join"


def kernel(op: Op) -> int:
    """Return the positions that a convolution looks at; 0 for anything else."""
    return prod(op.args[1][2:]) if op.name == "convolution" else 0


def enclosing(tape: Tape, ops: Sequence[int]) -> Iterator[int]:
    """Yield the calls that hold all of some operations, from the inside out."""
    first, last = min(ops), max(ops)
    for call in tape.around(tape.ops[last].call):
        if tape.calls[call].first <= first:
            yield call
