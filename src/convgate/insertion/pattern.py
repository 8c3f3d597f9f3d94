"""Sites by path pattern, in any network."""

from collections.abc import Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import Tensor, nn

from convgate.errors import InputError
from convgate.insertion.host import output_host
from convgate.insertion.sites import Block, Site, find_blocks, with_shape
from convgate.insertion.trace import Shape, record_shapes
from convgate.insertion.tree import MARK, Layout, join, output_source, output_width


def sites_by_pattern(
    model: nn.Module, pattern: str, example_input: Tensor | None = None
) -> list[Site]:
    """Return a site on the output of every module whose dotted path matches.

    Channels are what the module says (features, channels, normalised shape; for a Sequential, of
    its last layer; for a known block, of its output); linear layers and layer norms give
    (N, H, W, C). Where the module does not say, an example is run.

    Args:
        model: Any network.
        pattern: Shell pattern for whole paths; ``*`` also matches dots.
        example_input: An input of the network; square where a module's axes have to be told.

    Raises:
        InputError: if no path matches, or a match has no single (N, C, H, W) output.
    """
    paths = matching_paths(model, pattern)
    if not paths:
        near = get_close_matches(pattern, list(_own_paths(model)), n=1, cutoff=0.3)
        hint = f"; the nearest path is {near[0]!r}" if near else ""
        raise InputError(f"no module of {type(model).__name__} matches {pattern!r}{hint}")
    hosts: dict[str, str] = {}
    for path in paths:
        hosts.setdefault(output_host(model, path), path)
    shapes = _shapes(model, list(hosts), example_input)
    blocks = find_blocks(model)
    return [_site(model, pattern, h, path, shapes.get(h), blocks) for h, path in hosts.items()]


def matching_paths(model: nn.Module, pattern: str) -> list[str]:
    """Return the dotted paths that match a shell pattern, without gates and their parts."""
    return [path for path in _own_paths(model) if fnmatchcase(path, pattern)]


def _own_paths(model: nn.Module) -> Iterator[str]:
    """Yield the paths of all modules except gates and what is in them."""
    gates = [f"{p}." for p, m in model.named_modules() if MARK in vars(m)]
    for path, _ in model.named_modules():
        if path and not any(f"{path}.".startswith(gate) for gate in gates):
            yield path


def _shapes(
    model: nn.Module, hosts: list[str], example_input: Tensor | None
) -> dict[str, list[Shape]]:
    if example_input is None:
        return {}
    found = record_shapes(model, [(host, "output") for host in hosts], example_input)
    return dict(zip(hosts, found, strict=True))


def _site(
    model: nn.Module,
    pattern: str,
    host: str,
    path: str,
    shapes: list[Shape] | None,
    blocks: list[Block],
) -> Site:
    own = next((b for b in blocks if f"{host}.".startswith(f"{b.path}.")), None)
    width, layout = _spot(own, host) if own else (None, None)
    if width is None:
        width, layout = _known(model.get_submodule(path))
    stage = own.stage if own else 0
    if shapes is not None:
        shape = _single(host, shapes)
        layout = layout or _layout_of(host, shape)
        width = shape[1] if layout == "NCHW" else shape[3]
        return with_shape(Site(pattern, host, stage, width, layout, "output"), shape)
    if width is None or layout is None:
        kind = type(model.get_submodule(path)).__name__
        raise InputError(f"the channels of {path} ({kind}) are not known; pass example_input")
    return Site(pattern, host, stage, width, layout, "output")


def _spot(block: Block, host: str) -> tuple[int | None, Layout | None]:
    """Return channels and layout of a block's output, or of a named site in it."""
    if block.path == host and block.spots.width is not None:
        return block.spots.width, "NCHW"
    for spot in block.spots.places.values():
        if (join(block.path, spot.path), spot.where) == (host, "output"):
            return spot.channels, spot.layout
    return None, None


def _known(module: nn.Module) -> tuple[int | None, Layout | None]:
    """Return channels and layout as far as a module's parts say them."""
    source = output_source(module)
    if source is None:
        return None, None
    images = not isinstance(source, (nn.Linear, nn.LayerNorm)) or "2d" in type(source).__name__
    return output_width(module), "NCHW" if images else "NHWC"


def _single(host: str, shapes: list[Shape]) -> Shape:
    if len(shapes) != 1:
        raise InputError(
            f"{host} runs {len(shapes)} times in a forward pass and a gate can serve one place; "
            "name a module that runs once"
        )
    if len(shapes[0]) != 4:
        raise InputError(
            f"{host} gives {shapes[0] or 'no single tensor'} and a gate needs (N, C, H, W); "
            "name another module"
        )
    return shapes[0]


def _layout_of(host: str, shape: Shape) -> Layout:
    """Tell the channel axis of an unknown module's output: the two equal sides are H and W."""
    _, a, b, c = shape
    if (b == c) == (a == b):
        raise InputError(
            f"{host} gives {shape} and its channel axis cannot be told; "
            "pass a square example_input of another size"
        )
    return "NCHW" if b == c else "NHWC"
