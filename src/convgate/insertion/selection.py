"""Choose sites by name or path pattern, and by stage."""

from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import Tensor, nn

from convgate.errors import InputError, unknown
from convgate.insertion.module_tree import (
    MARK,
    Layout,
    Shape,
    join,
    known_input,
    output_carrier,
    output_source,
    output_width,
    record_shapes,
)
from convgate.insertion.rules import SITES
from convgate.insertion.sites import Block, Site, find_blocks, list_sites, with_shape


def find_sites(
    model: nn.Module,
    at: str,
    stages: Iterable[int] | int | None = None,
    example_input: Tensor | None = None,
) -> list[Site]:
    """Return the sites that ``at`` names, in the stages asked for.

    Args:
        model: A network.
        at: A site of `list_sites`, or a pattern for dotted module paths; or several of them with
            commas between, as in "stem_end,stage_end".
        stages: The stages to take, from 1; the stem is 0.
        example_input: An input; timm's networks note their input size, which serves for named
            sites where this is absent.

    Raises:
        InputError: if the network has no such site, path or stage, or one is named twice.
    """
    if "," in at:
        return in_stages(_several(model, at, example_input), stages)
    if at in SITES:
        return in_stages(_named(model, at, example_input), stages)
    if not any(sign in at for sign in "*?[.") and not matching_paths(model, at):
        raise unknown("site", at, SITES)
    return in_stages(sites_by_pattern(model, at, example_input), stages)


def in_stages(sites: list[Site], stages: Iterable[int] | int | None) -> list[Site]:
    if stages is None:
        return sites
    wanted = {stages} if isinstance(stages, int) else set(stages)
    present = {site.stage for site in sites}
    if not wanted or wanted - present:
        lacking = ", ".join(map(str, sorted(wanted - present))) or "nothing"
        raise InputError(
            f"stages: {lacking} is asked for and {sites[0].name!r} is in the stages "
            f"{', '.join(map(str, sorted(present)))}"
        )
    return [site for site in sites if site.stage in wanted]


def _several(model: nn.Module, at: str, example_input: Tensor | None) -> list[Site]:
    parts = [part.strip() for part in at.split(",")]
    found = [site for part in parts for site in find_sites(model, part, None, example_input)]
    places = [(site.path, site.where) for site in found]
    twice = next((place for place in places if places.count(place) > 1), None)
    if twice:
        raise InputError(f"{at!r} names the {twice[1]} of {twice[0]} twice; name each place once")
    return found


def _named(model: nn.Module, at: str, example_input: Tensor | None) -> list[Site]:
    sites = list_sites(model, example_input if example_input is not None else known_input(model))
    found = [site for site in sites if site.name == at]
    if found:
        return found
    kind = type(model).__name__
    if not sites:
        raise InputError(
            f"{kind} is of no known family, so it has no site {at!r}; give a path pattern such as "
            "'layer[34].*.bn2'"
        )
    names = sorted({site.name for site in sites}, key=SITES.index)
    raise InputError(f"{kind} has no site {at!r}; it has {', '.join(names)}")


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
    """
    paths = matching_paths(model, pattern)
    if not paths:
        near = get_close_matches(pattern, list(_own_paths(model)), n=1, cutoff=0.3)
        hint = f"; the nearest path is {near[0]!r}" if near else ""
        raise InputError(f"no module of {type(model).__name__} matches {pattern!r}{hint}")
    carriers: dict[str, str] = {}
    for path in paths:
        carriers.setdefault(output_carrier(model, path), path)
    shapes = _shapes(model, list(carriers), example_input)
    blocks = find_blocks(model)
    return [_site(model, pattern, h, path, shapes.get(h), blocks) for h, path in carriers.items()]


def matching_paths(model: nn.Module, pattern: str) -> list[str]:
    """Return the dotted paths that match a shell pattern, without gates and their parts."""
    return [path for path in _own_paths(model) if fnmatchcase(path, pattern)]


def _own_paths(model: nn.Module) -> Iterator[str]:
    gates = [f"{p}." for p, m in model.named_modules() if MARK in vars(m)]
    for path, _ in model.named_modules():
        if path and not any(f"{path}.".startswith(gate) for gate in gates):
            yield path


def _shapes(
    model: nn.Module, carriers: list[str], example_input: Tensor | None
) -> dict[str, list[Shape]]:
    if example_input is None:
        return {}
    found = record_shapes(model, [(carrier, "output") for carrier in carriers], example_input)
    return dict(zip(carriers, found, strict=True))


def _site(
    model: nn.Module,
    pattern: str,
    carrier: str,
    path: str,
    shapes: list[Shape] | None,
    blocks: list[Block],
) -> Site:
    own = next((b for b in blocks if f"{carrier}.".startswith(f"{b.path}.")), None)
    width, layout = _block_tensor(own, carrier) if own else (None, None)
    if width is None:
        width, layout = _known(model.get_submodule(path))
    stage = own.stage if own else 0
    if shapes is not None:
        shape = _single(carrier, shapes)
        layout = layout or _layout_of(carrier, shape)
        width = shape[1] if layout == "NCHW" else shape[3]
        return with_shape(Site(pattern, carrier, stage, width, layout, "output"), shape)
    if width is None or layout is None:
        kind = type(model.get_submodule(path)).__name__
        raise InputError(f"the channels of {path} ({kind}) are not known; pass example_input")
    return Site(pattern, carrier, stage, width, layout, "output")


def _block_tensor(block: Block, carrier: str) -> tuple[int | None, Layout | None]:
    """Return channels and layout of a block's output, or of a named site in it."""
    if block.path == carrier and block.sites.width is not None:
        return block.sites.width, "NCHW"
    for tensor in block.sites.tensors.values():
        if (join(block.path, tensor.path), tensor.where) == (carrier, "output"):
            return tensor.channels, tensor.layout
    return None, None


def _known(module: nn.Module) -> tuple[int | None, Layout | None]:
    """Return channels and layout as far as a module's parts say them."""
    source = output_source(module)
    if source is None:
        return None, None
    images = not isinstance(source, (nn.Linear, nn.LayerNorm)) or "2d" in type(source).__name__
    return output_width(module), "NCHW" if images else "NHWC"


def _single(carrier: str, shapes: list[Shape]) -> Shape:
    if len(shapes) != 1:
        raise InputError(
            f"{carrier} runs {len(shapes)} times in a forward pass and a gate can serve one place; "
            "name a module that runs once"
        )
    if len(shapes[0]) != 4:
        raise InputError(
            f"{carrier} gives {shapes[0] or 'no single tensor'} and a gate needs (N, C, H, W); "
            "name another module"
        )
    return shapes[0]


def _layout_of(carrier: str, shape: Shape) -> Layout:
    """Tell the channel axis of an unknown module's output: the two equal sides are H and W."""
    _, a, b, c = shape
    if (b == c) == (a == b):
        raise InputError(
            f"{carrier} gives {shape} and its channel axis cannot be told; "
            "pass a square example_input of another size"
        )
    return "NCHW" if b == c else "NHWC"
