"""The named sites of a network: where attention can go, under the same names for every family."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import torch
from torch import nn

from convgate.insertion.blocks import BlockSites
from convgate.insertion.module_tree import (
    MARK,
    Layout,
    TensorSite,
    Where,
    child,
    input_carrier,
    input_width,
    join,
    output_carrier,
    record_shapes,
)
from convgate.insertion.rules import SITES, block_sites, stem_site


@dataclass(frozen=True)
class Site:
    """A place in a network that a gate can take."""

    # one of stem_end, expanded, spatial_raw, spatial, hidden, se, block_end, stage_end, or the
    # pattern that found it
    name: str
    path: str  # the module that the gate is put on
    # 1 for the first; 0 for what is in no stage, as the stem. Stages are counted in order; where
    # blocks are not grouped in modules, a change of width starts a stage
    stage: int
    channels: int  # C of the tensor there
    layout: Layout  # "NCHW", or "NHWC" for (N, H, W, C)
    where: Where  # "output" of the module, or its "input"
    shape: tuple[int, int, int, int] | None = None  # (N, C, H, W), once an example ran


@dataclass(frozen=True)
class Block:
    """A recognised block, its stage, and its tensors by site name."""

    path: str
    stage: int
    sites: BlockSites


def list_sites(model: nn.Module, example_input: torch.Tensor | None = None) -> list[Site]:
    """Return the sites of a network in its order.

    Known are the ResNet, ResNeXt, WRN, MobileNetV2 / V3, EfficientNet, DenseNet, ShuffleNetV2,
    RegNet and ConvNeXt V1 / V2 families of timm and torchvision, and convgate's own (SELNeXt,
    HorNet, MobileNeXt and the forms for CIFAR); a network made of their blocks works as well. Any
    other gives an empty list: there, name modules by a path pattern.

    - stem_end: after the stem's activation, before its pooling.
    - expanded: after the 1x1 expansion of an inverted residual, its norm and activation.
    - spatial_raw: after a block's first convolution larger than 1x1, before its norm.
    - spatial: the same after its norm and activation. In DenseNet, whose norms come first, the
      convolution's output under both names; in HorNet, after the recursive gated convolution.
    - hidden: after the activation between the two linear layers of a ConvNeXt or HorNet block.
    - se: the net's own channel attention, which `replace` and `remove` take.
    - block_end: the end of the residual branch, before the addition (or concatenation).
    - stage_end: after a stage's last block.

    Args:
        model: The network.
        example_input: An input; with it the network runs once, and the sites have shapes.
    """
    blocks = find_blocks(model)
    named = _named_tensors(model, blocks)
    sites = [_site(model, name, tensor, stage) for name, tensor, stage in named]
    if example_input is None:
        return sites
    shapes = record_shapes(model, [(site.path, site.where) for site in sites], example_input)
    return [
        with_shape(site, found[0]) if found else site
        for site, found in zip(sites, shapes, strict=True)
    ]


def with_shape(site: Site, shape: tuple[int, ...], layout: Layout | None = None) -> Site:
    """Return the site with the shape of its tensor, given in ``layout`` or in the site's own."""
    n, *rest = shape
    c, h, w = rest if (layout or site.layout) == "NCHW" else (rest[2], rest[0], rest[1])
    return replace(site, shape=(n, c, h, w))


def find_blocks(model: nn.Module) -> list[Block]:
    """Return the recognised blocks in order; parts of blocks and of gates are none."""
    found: list[tuple[str, BlockSites]] = []
    closed: list[str] = []
    for path, module in model.named_modules():
        if any(path.startswith(prefix) for prefix in closed):
            continue
        sites = block_sites(module)
        if sites:
            found.append((path, sites))
        if sites or MARK in module.__dict__:
            closed.append(f"{path}." if path else "")
    stages = _stages([path for path, _ in found], [s.tensors["block_end"] for _, s in found])
    return [Block(path, stage, sites) for (path, sites), stage in zip(found, stages, strict=True)]


def _stages(paths: list[str], ends: list[TensorSite]) -> list[int]:
    parents = [path.rpartition(".")[0] for path in paths]
    keys: list[object] = list(parents)
    if len(set(parents)) == 1:
        keys = [end.channels for end in ends]
    numbered = enumerate((list(run) for _, run in groupby(keys)), 1)
    return [stage for stage, run in numbered for _ in run]


def _named_tensors(model: nn.Module, blocks: list[Block]) -> Iterator[tuple[str, TensorSite, int]]:
    stem = _stem(model, blocks)
    if stem:
        yield "stem_end", stem, 0
    for stage, group in groupby(blocks, lambda block: block.stage):
        members = list(group)
        for block in members:
            for name in sorted(block.sites.tensors, key=SITES.index):
                tensor = block.sites.tensors[name]
                yield name, replace(tensor, path=join(block.path, tensor.path)), stage
        end = _stage_end(model, members[-1])
        if end:
            yield "stage_end", end, stage


def _stem(model: nn.Module, blocks: list[Block]) -> TensorSite | None:
    """Look for the stem in the smallest module that holds all blocks, then in what holds that."""
    names = [block.path.split(".")[:-1] for block in blocks]
    if not names:
        return None
    shared = [level[0] for level in _equal_levels(names)]
    for depth in range(len(shared), -1, -1):
        path = join(*shared[:depth])
        root = child(model, path)
        tensor = stem_site(root) if root is not None else None
        if tensor:
            return replace(tensor, path=join(path, tensor.path))
    return None


def _equal_levels(names: list[list[str]]) -> Iterator[tuple[str, ...]]:
    for level in zip(*names, strict=False):
        if len(set(level)) > 1:
            return
        yield level


def _stage_end(model: nn.Module, last: Block) -> TensorSite | None:
    if last.sites.width is not None:
        return TensorSite(last.path, "output", last.sites.width)
    stage = last.path.rpartition(".")[0]
    above, _, name = stage.rpartition(".")
    around = child(model, above)
    names = list(around._modules) if around is not None else []
    after = next((b for a, b in pairwise(names) if a == name), None)
    following = child(model, join(above, after)) if after else None
    width = input_width(following) if following is not None else None
    return TensorSite(join(above, after or ""), "input", width) if width else None


def _site(model: nn.Module, name: str, tensor: TensorSite, stage: int) -> Site:
    carrier = output_carrier if tensor.where == "output" else input_carrier
    path = carrier(model, tensor.path)
    return Site(name, path, stage, tensor.channels, tensor.layout, tensor.where)
