"""Choose sites by name or path pattern, and by stage."""

from collections import Counter
from collections.abc import Iterable, Iterator
from difflib import get_close_matches
from fnmatch import fnmatchcase

from torch import Tensor, nn

from convgate.errors import InputError, unknown
from convgate.insertion.axes import LAYOUTS
from convgate.insertion.block import FlowBlock
from convgate.insertion.blocks import count_without_map
from convgate.insertion.flow import Flow
from convgate.insertion.module_tree import Where, carrier, child, is_container, own_modules
from convgate.insertion.sites import (
    SITES,
    Site,
    count_blocks,
    find_blocks,
    list_sites,
    located_blocks,
    stage_of,
)
from convgate.insertion.tape import Call, Value
from convgate.insertion.trace import flow_of

INPUT = ":input"
"""After a path pattern: the input of the module, and not its output."""


def find_sites(
    model: nn.Module,
    at: str,
    stages: Iterable[int] | int | None = None,
    example_input: Tensor | None = None,
) -> list[Site]:
    """Return the sites that ``at`` names, in the stages asked for.

    Args:
        model: A network.
        at: A site of `list_sites`; or a pattern for dotted module paths, for their outputs (of a
            tuple, its one map) or, with ":input" after it, their inputs; or several of them with
            commas between, as in "stem_end,stage_end".
        stages: The stages to take, from 1; the stem is 0.
        example_input: An input; by default one of the size that timm notes, else of a usual size.

    Raises:
        InputError: if the network has no such site, path or stage, or one is named twice.
    """
    if not isinstance(at, str):
        raise InputError(f"at={at!r} is no text; give one site or pattern, several with commas")
    if "," in at:
        return in_stages(_several(model, at, example_input), stages)
    if at in SITES:
        found = in_stages(_named(model, at, example_input), stages)
        _check_parts(found)
        return found
    pattern = at.removesuffix(INPUT)
    if not any(sign in at for sign in "*?[.:") and not matching_paths(model, pattern):
        raise unknown("site", at, SITES)
    return in_stages(sites_by_pattern(model, at, example_input), stages)


def _check_parts(sites: list[Site]) -> None:
    """Ask that no module has to carry gates on two of the tensors that it returns."""
    counts = Counter(site.path for site in sites if site.where == "part")
    twice = next((path for path, count in counts.items() if count > 1), None)
    if twice is not None:
        raise InputError(
            f"{sites[0].name!r} is on {counts[twice]} tensors that {twice} returns, and a module "
            "carries a gate on one of them; give stages, or a path pattern"
        )


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
    sites = list_sites(model, example_input)
    found = [site for site in sites if site.name == at]
    if found:
        return found
    kind = type(model).__name__
    if not sites:
        _, tokens = count_blocks(model, example_input)
        why = "works on tokens that are no map (N, C, H, W)" if tokens else "has no blocks"
        raise InputError(
            f"{kind} {why}, so it has no site {at!r}; give a path pattern such as 'layer[34].*.bn2'"
        )
    names = sorted({site.name for site in sites}, key=SITES.index)
    raise InputError(f"{kind} has no site {at!r}; it has {', '.join(names)}")


def sites_by_pattern(
    model: nn.Module, pattern: str, example_input: Tensor | None = None
) -> list[Site]:
    """Return a site on the output, or the input, of every module whose dotted path matches.

    Args:
        model: Any network.
        pattern: Shell pattern for whole paths; ``*`` also matches dots; ":input" after it.
        example_input: An input of the network.
    """
    paths_of = pattern.removesuffix(INPUT)
    where: Where = "input" if pattern.endswith(INPUT) else "output"
    paths = matching_paths(model, paths_of)
    if not paths:
        near = get_close_matches(paths_of, [path for path, _ in own_modules(model)], 1, 0.3)
        hint = f"; the nearest path is {near[0]!r}" if near else ""
        raise InputError(f"no module of {type(model).__name__} matches {paths_of!r}{hint}")
    carriers = dict.fromkeys(carrier(model, path, where) for path in paths)
    for path in carriers:
        _check_carrier(path, child(model, path))
    flow = flow_of(model, example_input)
    return [_site(model, flow, pattern, path, where) for path in carriers]


def matching_paths(model: nn.Module, pattern: str) -> list[str]:
    """Return the dotted paths that match a shell pattern, without gates and their parts."""
    return [path for path, _ in own_modules(model) if path and fnmatchcase(path, pattern)]


def count_in_stages(
    model: nn.Module, at: str, stages: Iterable[int] | int | None, example_input: Tensor | None
) -> int:
    """Return how many blocks a site that blocks have could be in; 0 for other sites and patterns.

    Blocks of tokens that are no map have no stage, and count where no stages are asked for.
    """
    if at not in SITES or at in ("stem_end", "stage_end"):
        return 0
    blocks = find_blocks(model, example_input)
    if stages is None:
        return sum(count_blocks(model, example_input))
    wanted = {stages} if isinstance(stages, int) else set(stages)
    return sum(block.stage in wanted for block in blocks)


def reasons_without(model: nn.Module, example_input: Tensor | None = None) -> str:
    """Say what the blocks without a `block_end` are, and how many of each kind.

    As in "2 work on tensors that are no map, 1 ends in a tensor that no module gives or takes
    (stages.3.downsample.attn)".
    """
    flow = flow_of(model, example_input)
    blocks = located_blocks(model, flow)
    makers = [_maker(flow, form) for form, block in blocks if "block_end" not in block.sites]
    runs = Counter(call.path for call in flow.tape.calls)
    repeated = [path for path in makers if runs[path] > 1]
    loose = [path for path in makers if runs[path] <= 1]
    return ", ".join(_words(count_without_map(flow), repeated, loose))


def _words(tokens: int, repeated: list[str], loose: list[str]) -> Iterator[str]:
    if tokens:
        yield f"{tokens} work{'s' * (tokens == 1)} on tensors that are no map"
    if repeated:
        yield f"{len(repeated)} run{'s' * (len(repeated) == 1)} more than once{_first(repeated)}"
    if loose:
        ends = "ends in a tensor" if len(loose) == 1 else "end in tensors"
        yield f"{len(loose)} {ends} that no module gives or takes{_first(loose)}"


def _first(paths: list[str]) -> str:
    named = next(filter(None, paths), "")
    return f" ({named}{' first' * (len(paths) > 1)})" if named else ""


def _maker(flow: Flow, form: FlowBlock) -> str:
    """Return the module whose own code makes the end of a block's branch."""
    tape = flow.tape
    return tape.calls[tape.ops[tape.producer[form.main.end]].call].path


def _check_carrier(path: str, module: nn.Module | None) -> None:
    if module is None or is_container(module):
        raise InputError(
            f"{path or 'the network'} is a {type(module).__name__}, which runs its children one "
            "by one and so cannot carry a gate; name a module inside it"
        )


def _site(model: nn.Module, flow: Flow, pattern: str, path: str, where: Where) -> Site:
    calls = [call for call in flow.tape.calls if call.path == path]
    if len(calls) != 1:
        raise InputError(
            f"{path} runs {len(calls)} times in a forward pass and a gate can serve one place; "
            "name a module that runs once"
        )
    value, part = (calls[0].taken, -1) if where == "input" else _given(flow, calls[0])
    axes = flow.axes.get(value) if value is not None else None
    if value is None or axes is None or axes.layout not in LAYOUTS:
        shape = flow.tape.shape[value] if value is not None else "no single tensor of the image"
        verb = "gives" if where == "output" else "takes"
        raise InputError(
            f"{path} {verb} {shape} and a gate needs (N, C, H, W); name another module"
        )
    width = flow.channels(value)
    stage = stage_of(model, flow, path, value)
    shape = (1, width, *axes.grid)
    if part >= 0:
        return Site(pattern, path, stage, width, axes.layout, "part", shape, part)  # type: ignore[arg-type]
    return Site(pattern, path, stage, width, axes.layout, where, shape)  # type: ignore[arg-type]


def _given(flow: Flow, call: Call) -> tuple[Value | None, int]:
    """Return the tensor that a module gives; of a tuple the one map, and which part that is."""
    maps = [
        i for i, v in enumerate(call.parts) if v in flow.axes and flow.axes[v].layout in LAYOUTS
    ]
    return (call.parts[maps[0]], maps[0]) if len(maps) == 1 else (call.given, -1)
