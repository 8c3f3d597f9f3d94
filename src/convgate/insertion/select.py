"""Choose sites by name or path pattern, and by stage."""

from collections.abc import Iterable

from torch import Tensor, nn

from convgate.errors import InputError, unknown
from convgate.insertion.pattern import matching_paths, sites_by_pattern
from convgate.insertion.rules import SITES
from convgate.insertion.sites import Site, list_sites
from convgate.insertion.trace import known_input


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
    """Return the sites of some stages.

    Raises:
        InputError: if one of the stages has none.
    """
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
