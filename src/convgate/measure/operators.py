"""What one operator costs: element-wise operations, and bytes read and written.

One operation is one addition, multiplication, multiply-add, comparison or function value:

* a pointwise operator: 1 for each output element;
* a sum, mean, maximum: 1 for each input element; a variance: 2;
* pooling: the window for each output element; adaptive pooling: 1 for each input element;
* batch norm in eval mode: 1 (one multiply-add with folded numbers); layer, group and instance
  norm: 4 (mean, variance, normalise, scale and shift), 3 without scale and shift; root mean
  square norm: 1 less;
* softmax: 4 (maximum, exponential, sum, division); bilinear resize: 4; bicubic: 16.

A bias that a convolution or matrix product adds is free: its accumulator starts from it.
"""

import math
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor
from torch.utils.flop_counter import flop_registry

Formula = Callable[[tuple[Any, ...], Tensor], int]


def name_of(func: Any) -> str:
    """Return an operator's name, the same for its in-place form: ``aten.relu_`` is ``relu``."""
    name: str = func.overloadpacket.__name__
    return name.removesuffix("_") if not name.startswith("__") else name


def _each_input(times: int) -> Formula:
    return lambda args, out: times * args[0].numel()


def _each_output(times: int) -> Formula:
    return lambda args, out: times * out.numel()


def _norm(weight_at: int, plain: int) -> Formula:
    return lambda args, out: (plain + (args[weight_at] is not None)) * args[0].numel()


def _batch_norm(args: tuple[Any, ...], out: Tensor) -> int:
    training = len(args) > 5 and args[5] is True
    return (4 if training else 1) * out.numel()


def _pool(dims: int) -> Formula:
    def window(args: tuple[Any, ...], out: Tensor) -> int:
        size = list(args[1]) if isinstance(args[1], list | tuple) else [args[1]]
        return out.numel() * math.prod(size if len(size) == dims else size * dims)

    return window


def _attention(args: tuple[Any, ...], out: Tensor) -> int:
    query, key = args[0], args[1]
    return 4 * math.prod(query.shape[:-1]) * key.shape[-2]


_SUMS = "mean sum amax amin max min prod any all argmax argmin logsumexp nansum cumsum median"
_NORMS_OF_VECTORS = "norm linalg_vector_norm linalg_norm var std var_mean std_mean"
_BATCH_NORMS = (
    "native_batch_norm cudnn_batch_norm miopen_batch_norm _native_batch_norm_legit "
    "_native_batch_norm_legit_no_training _batch_norm_no_update batch_norm"
)
_ADAPTIVE = (
    "_adaptive_avg_pool1d _adaptive_avg_pool2d _adaptive_avg_pool3d "
    "adaptive_max_pool1d adaptive_max_pool2d adaptive_max_pool3d"
)
_ATTENTION = (
    "_scaled_dot_product_flash_attention _scaled_dot_product_flash_attention_for_cpu "
    "_scaled_dot_product_efficient_attention _scaled_dot_product_cudnn_attention"
)
# Pointwise by meaning, though the operator's own tags do not say so.
_POINTWISE = "hardswish _prelu_kernel prelu native_dropout bernoulli rrelu_with_noise"

ELEMENTWISE: dict[str, Formula] = (
    dict.fromkeys(_SUMS.split(), _each_input(1))
    | dict.fromkeys(_NORMS_OF_VECTORS.split(), _each_input(2))
    | dict.fromkeys(_ADAPTIVE.split(), _each_input(1))
    | dict.fromkeys(_BATCH_NORMS.split(), _batch_norm)
    | dict.fromkeys(_ATTENTION.split(), _attention)
    | dict.fromkeys(_POINTWISE.split(), _each_output(1))
    | dict.fromkeys(("_softmax", "_safe_softmax", "_log_softmax"), _each_input(4))
    | {f"{kind}_pool{n}d": _pool(n) for kind in ("avg", "max") for n in (1, 2, 3)}
    | {f"max_pool{n}d_with_indices": _pool(n) for n in (2, 3)}
    | {"native_layer_norm": _norm(2, plain=3), "native_group_norm": _norm(1, plain=3)}
    | {"_fused_rms_norm": _norm(2, plain=2), "upsample_nearest2d": _each_output(0)}
    | {"upsample_bilinear2d": _each_output(4), "upsample_bicubic2d": _each_output(16)}
)

# Moves or makes numbers and computes none: bytes, but no operation.
_MOVES = (
    "clone _to_copy copy cat stack constant_pad_nd reflection_pad1d reflection_pad2d roll flip "
    "replication_pad1d replication_pad2d native_channel_shuffle channel_shuffle pixel_shuffle "
    "pixel_unshuffle index_select index _unsafe_index gather embedding repeat im2col fill zero "
    "zeros ones full arange scalar_tensor zeros_like ones_like full_like new_zeros new_ones "
    "new_full linspace eye tril triu rand randn rand_like randn_like normal uniform "
    "repeat_interleave"
)
MOVES = frozenset(_MOVES.split())
# Touches no number at all.
_SILENT = (
    "empty empty_like empty_strided new_empty new_empty_strided _unsafe_view _reshape_alias "
    "lift_fresh detach alias as_strided resize set _local_scalar_dense "
    "_assert_async _assert_scalar sym_size sym_numel device is_same_size"
)
SILENT = frozenset(_SILENT.split())
_WRITES = (
    "copy fill zero normal uniform zeros_like ones_like full_like rand_like randn_like "
    "new_zeros new_ones new_full"
)
_WRITES_ONLY = frozenset(_WRITES.split())
_READS_PICKED_ROWS = frozenset(("index_select", "index", "_unsafe_index", "gather", "embedding"))

# What torch's own table lacks, in some of its versions or in all.
_EXTRA_MACS: dict[str, Formula] = {
    "_scaled_dot_product_flash_attention_for_cpu": lambda args, out: (
        args[0].shape[:-1].numel() * args[1].shape[-2] * (args[0].shape[-1] + args[2].shape[-1])
    ),
    "mv": lambda args, out: args[0].numel(),
    "addmv": lambda args, out: args[1].numel(),
    "dot": lambda args, out: args[0].numel(),
    "vdot": lambda args, out: args[0].numel(),
    "addbmm": lambda args, out: args[1].numel() * args[2].shape[-1],
}


def macs_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int | None:
    """Return the multiply-adds of a convolution or matrix product; None for any other."""
    if func.overloadpacket in flop_registry:
        return int(flop_registry[func.overloadpacket](*args, **kwargs, out_val=out)) // 2
    extra = _EXTRA_MACS.get(name_of(func))
    return None if extra is None else extra(args, out)


def is_known(func: Any) -> bool:
    """Say whether a rule names ``func``, so that it need not be taken apart."""
    name = name_of(func)
    by_name = name in ELEMENTWISE or name in MOVES or name in SILENT or name in _EXTRA_MACS
    return by_name or func.overloadpacket in flop_registry or torch.Tag.pointwise in func.tags


def operations_of(func: Any, args: tuple[Any, ...], out: Any) -> int | None:
    """Return the element-wise operations of ``func``; None where no rule is known."""
    name = name_of(func)
    if name in MOVES:
        return 0
    first = first_tensor(out)
    if first is None:
        return None
    if name in ELEMENTWISE:
        return ELEMENTWISE[name](args, first)
    return first.numel() if torch.Tag.pointwise in func.tags else None


def bytes_of(func: Any, args: tuple[Any, ...], kwargs: dict[str, Any], out: Any) -> int:
    """Return the bytes of the distinct inputs read and of the result written.

    Of several results the first counts: the others (statistics, indices) serve a backward pass.
    """
    name = name_of(func)
    written = first_tensor(out)
    result = 0 if written is None else tensor_bytes(written)
    inputs = {id(t): t for t in tensors((args, kwargs))}
    if name in _WRITES_ONLY and args:
        inputs.pop(id(args[0]), None)
    if name in _READS_PICKED_ROWS:
        picked = [t for t in inputs.values() if not t.is_floating_point()]
        return 2 * result + sum(map(tensor_bytes, picked))
    return result + sum(map(tensor_bytes, inputs.values()))


def tensor_bytes(tensor: Tensor) -> int:
    """Return the bytes of the numbers behind ``tensor``; an expanded dimension is stored once."""
    strides = tensor.stride() if tensor.layout is torch.strided else (1,) * tensor.ndim
    pairs = zip(tensor.shape, strides, strict=True)
    return math.prod(size for size, stride in pairs if stride or not size) * tensor.element_size()


def tensors(tree: Any) -> Iterator[Tensor]:
    """Walk the tensors in nested lists, tuples and dicts."""
    if isinstance(tree, Tensor):
        yield tree
    elif isinstance(tree, list | tuple):
        for entry in tree:
            yield from tensors(entry)
    elif isinstance(tree, dict):
        for entry in tree.values():
            yield from tensors(entry)


def first_tensor(tree: Any) -> Tensor | None:
    return next(tensors(tree), None)
