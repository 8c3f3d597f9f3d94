"""The named sites of a network: where attention can go, under the same names for every family."""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import groupby, pairwise

import torch
from torch import nn

from convgate.insertion.host import input_host, output_host
from convgate.insertion.place import Spots
from convgate.insertion.rules import SITES, block_spots, stem_spot
from convgate.insertion.trace import record_shapes
from convgate.insertion.tree import MARK, Layout, Spot, Where, child, input_width, join


@dataclass(frozen=True)
class Site:
    """A place in a network that a gate can take.

    Args:
        name: One of stem_end, expanded, spatial_raw, spatial, hidden, se, block_end, stage_end,
            or the pattern that found it.
        path: The module that the gate is put on.
        stage: 1 for the first; 0 for what is in no stage, as the stem. Stages are counted in
            order; where blocks are not grouped in modules, a change of width starts a stage.
        channels: C of the tensor there.
        layout: "NCHW", or "NHWC" for (N, H, W, C).
        where: "output" of the module, or its "input".
        shape: The tensor's shape as (N, C, H, W), once an example has been run.
    """

    name: str
    path: str
    stage: int
    channels: int
    layout: Layout
    where: Where
    shape: tuple[int, int, int, int] | None = None


@dataclass(frozen=True)
class Block:
    """A recognised block, its stage, and its spots by site name."""

    path: str
    stage: int
    spots: Spots


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
    sites = [_site(model, name, spot, stage) for name, spot, stage in _named_spots(model, blocks)]
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
    found: list[tuple[str, Spots]] = []
    closed: list[str] = []
    for path, module in model.named_modules():
        if any(path.startswith(prefix) for prefix in closed):
            continue
        spots = block_spots(module)
        if spots:
            found.append((path, spots))
        if spots or MARK in module.__dict__:
            closed.append(f"{path}." if path else "")
    stages = _stages([path for path, _ in found], [s.places["block_end"] for _, s in found])
    return [Block(path, stage, spots) for (path, spots), stage in zip(found, stages, strict=True)]


def _stages(paths: list[str], ends: list[Spot]) -> list[int]:
    parents = [path.rpartition(".")[0] for path in paths]
    keys: list[object] = list(parents)
    if len(set(parents)) == 1:
        keys = [end.channels for end in ends]
    numbered = enumerate((list(run) for _, run in groupby(keys)), 1)
    return [stage for stage, run in numbered for _ in run]


def _named_spots(model: nn.Module, blocks: list[Block]) -> Iterator[tuple[str, Spot, int]]:
    stem = _stem(model, blocks)
    if stem:
        yield "stem_end", stem, 0
    for stage, group in groupby(blocks, lambda block: block.stage):
        members = list(group)
        for block in members:
            for name in sorted(block.spots.places, key=SITES.index):
                spot = block.spots.places[name]
                yield name, replace(spot, path=join(block.path, spot.path)), stage
        end = _stage_end(model, members[-1])
        if end:
            yield "stage_end", end, stage


def _stem(model: nn.Module, blocks: list[Block]) -> Spot | None:
    """Look for the stem in the smallest module that holds all blocks, then in what holds that."""
    names = [block.path.split(".")[:-1] for block in blocks]
    if not names:
        return None
    shared = [level[0] for level in _equal_levels(names)]
    for depth in range(len(shared), -1, -1):
        path = join(*shared[:depth])
        root = child(model, path)
        spot = stem_spot(root) if root is not None else None
        if spot:
            return replace(spot, path=join(path, spot.path))
    return None


def _equal_levels(names: list[list[str]]) -> Iterator[tuple[str, ...]]:
    for level in zip(*names, strict=False):
        if len(set(level)) > 1:
            return
        yield level


def _stage_end(model: nn.Module, last: Block) -> Spot | None:
    if last.spots.width is not None:
        return Spot(last.path, "output", last.spots.width)
    stage = last.path.rpartition(".")[0]
    above, _, name = stage.rpartition(".")
    around = child(model, above)
    names = list(around._modules) if around is not None else []
    after = next((b for a, b in pairwise(names) if a == name), None)
    following = child(model, join(above, after)) if after else None
    width = input_width(following) if following is not None else None
    return Spot(join(above, after or ""), "input", width) if width else None


def _site(model: nn.Module, name: str, spot: Spot, stage: int) -> Site:
    host = output_host if spot.where == "output" else input_host
    path = host(model, spot.path)
    return Site(name, path, stage, spot.channels, spot.layout, spot.where)
