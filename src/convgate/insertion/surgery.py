"""Insert, replace and remove gates in place; a refusal leaves the network untouched."""

import dataclasses
import warnings
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Literal

from torch import Tensor, nn

from convgate.errors import InputError, unknown
from convgate.gates import GATES
from convgate.gates.divisors import NotDivisible
from convgate.insertion.attach import (
    Insertion,
    attach,
    build_gate,
    check_free,
    detach,
    inserted,
    mark,
    put,
    take_away,
)
from convgate.insertion.module_tree import MARK
from convgate.insertion.report import InsertReport, report_row
from convgate.insertion.selection import (
    count_in_stages,
    find_sites,
    in_stages,
    reasons_without,
)
from convgate.insertion.sites import Site, list_sites

Start = Literal["identity", "paper"]
Target = tuple[str, Site, Literal["site", "slot"]]
"""The path of a module that goes, its site, and whether a gate beside the path or in it."""


def insert(
    model: nn.Module,
    gate: str | Mapping[int, str],
    *,
    at: str = "block_end",
    stages: Iterable[int] | int | None = None,
    start: Start = "identity",
    example_input: Tensor | None = None,
    **gate_options: Any,
) -> InsertReport:
    """Put a gate on every chosen site of a network, in place, before or after loading weights.

    With ``start="identity"`` the network computes bit for bit what it computed, in evaluation and
    in training, and the gates learn from the first step on (`pdfam_gmm` draws random numbers at
    every forward, so dropout after it draws others). No key of the state dict changes: the
    network's own checkpoints load strictly before and after, and leave the gates as they are; a
    gated checkpoint loads strictly into an equally gated network.

    The gate is a child ("gate" or "input_gate") of the module it follows or precedes, run by a
    hook. What builds that module anew, as the conversion to SyncBatchNorm does, drops the hook and
    has to come first; `torch.compile` has to come after, for it looks for hooks once.

    Args:
        model: The network.
        gate: A registered gate; or one for each stage, as {2: "eca", 4: "seln"}, which get those
            of the options that they have.
        at: A site of `list_sites`, or a pattern for dotted module paths ("layer[34].*.bn2"), or
            several with commas between.
        stages: The stages to take, from 1, as in (2, 3); the stem is 0. All by default.
        start: "identity", or "paper" for the gate's own initial values.
        example_input: An input of the network, to tell shapes and MACs; timm's networks note their
            input size, which serves where this is absent.
        gate_options: The gate's options. "<=16" is for each site the largest number up to 16 that
            divides its channels.

    Returns:
        One row for each gate, in the network's order under each name.

    Raises:
        InputError: for an unknown gate, option, site or stage (with the nearest), a channel count
            that the gate cannot take, a site that has a gate, or a network with blocks that lack
            the site ``at="block_end"`` where no ``stages`` are given.
    """
    if at == "se":
        raise InputError(
            "the network's own attention is at 'se'; "
            f"use replace(model, 'se', {gate!r}) to exchange it"
        )
    stages, name_of = _each_stage(gate, stages)
    sites = find_sites(model, at, stages, example_input)
    blocks = count_in_stages(model, at, stages, example_input)
    _check_coverage(model, at, sites, blocks, example_input, partly=stages is not None)
    for site in sites:
        check_free(model, site)
    named = [(site, name_of(site.stage)) for site in sites]
    shares = _share(gate_options, dict.fromkeys(name for _, name in named))
    made = _build_gates(model, [(site, name, shares[name]) for site, name in named], start)
    rows = []
    for (site, name), module in zip(named, made, strict=True):
        rows.append(report_row(site, name, module))
        attach(model, module, Insertion(site, name, shares[name], start))
    return InsertReport("insert", ", ".join(shares), start, tuple(rows), blocks)


def replace(
    model: nn.Module,
    old: str,
    new: str,
    *,
    stages: Iterable[int] | int | None = None,
    start: Start = "paper",
    example_input: Tensor | None = None,
    **gate_options: Any,
) -> InsertReport:
    """Exchange the network's own channel attention, or inserted gates, for another gate, in place.

    The weights of what is replaced go, and so do their keys in the state dict: load a checkpoint
    that has them before.

    Args:
        model: The network.
        old: "se" for the network's own attention, or the name of an inserted gate.
        new: A registered gate.
        stages: The stages to take; all by default.
        start: "paper", or "identity".
        example_input: An input of the network, to tell shapes and MACs.
        gate_options: The new gate's options.

    Returns:
        One row for each gate; its parameters are the difference to what it replaces.

    Raises:
        InputError: if there is no such attention or gate, or the new gate cannot take a site.
    """
    targets = _replaceable(model, old)
    sites = in_stages([site for _, site, _ in targets], stages)
    targets = [target for target in targets if target[1] in sites]
    made = _build_gates(model, [(site, new, gate_options) for site in sites], start)
    rows = [
        report_row(site, new, module, model.get_submodule(path))
        for (path, _, _), site, module in zip(targets, sites, made, strict=True)
    ]
    for (path, _, holds), site, module in zip(targets, sites, made, strict=True):
        mark(module, Insertion(site, new, gate_options, start, holds))
        put(model, path, module)
    return InsertReport("replace", new, start, tuple(rows))


def remove(model: nn.Module, at: str | None = None) -> InsertReport:
    """Take gates off a network, in place; the state dict has its original keys again.

    A gate that took the place of the network's own attention leaves `nn.Identity`, for that
    attention is gone.

    Args:
        model: The network.
        at: Only gates inserted there, by the site name or pattern they were inserted with; "se"
            removes the network's own attention. All inserted gates by default.

    Returns:
        One row for each removed module; its parameters are negative.

    Raises:
        InputError: if ``at`` is given and nothing is there.
    """
    targets = [
        (path, insertion.site, insertion.holds)
        for path, _, insertion in inserted(model)
        if at in (None, insertion.site.name)
    ]
    targets += _own_attention(model) if at == "se" else []
    if at is not None and not targets:
        raise InputError(f"{type(model).__name__} has nothing to remove at {at!r}")
    rows = [report_row(site, "none", None, model.get_submodule(path)) for path, site, _ in targets]
    for path, site, holds in targets:
        if holds == "site":
            detach(model, path)
        else:
            take_away(model, dataclasses.replace(site, path=path))
    return InsertReport("remove", "none", "", tuple(rows))


def _each_stage(
    gate: str | Mapping[int, str], stages: Iterable[int] | int | None
) -> tuple[Iterable[int] | int | None, Callable[[int], str]]:
    """Return the stages to take, and which gate each of them gets."""
    if isinstance(gate, str):
        return stages, lambda stage: gate
    if stages is not None or not gate:
        raise InputError("gate: a table names the stages and their gates; leave stages out")
    return sorted(gate), lambda stage: gate[stage]


def _share(options: Mapping[str, Any], gates: Iterable[str]) -> dict[str, dict[str, Any]]:
    """Return the options of each of several gates: those that it has; of one, all."""
    names = list(gates)
    if len(names) == 1:
        return {names[0]: dict(options)}
    known = {name: set(GATES.options(name)) for name in names}
    lost = next((key for key in options if not any(key in own for own in known.values())), None)
    if lost is not None:
        raise InputError(f"{lost}: none of the gates {', '.join(names)} has this option")
    return {name: {k: v for k, v in options.items() if k in own} for name, own in known.items()}


def _check_coverage(
    model: nn.Module,
    at: str,
    sites: list[Site],
    blocks: int,
    example_input: Tensor | None,
    *,
    partly: bool,
) -> None:
    """Refuse to gate some of a network's blocks as if they were all."""
    if not blocks or len(sites) >= blocks:
        return
    kind = type(model).__name__
    found = f"{at!r} is in {len(sites)} of the {blocks} blocks of {kind}"
    if at == "block_end" and not partly:
        why = reasons_without(model, example_input)
        raise InputError(f"{found}; of the others, {why}; give stages, or a path pattern")
    if at in ("spatial", "spatial_raw"):
        warnings.warn(found, stacklevel=3)


def _replaceable(model: nn.Module, old: str) -> list[Target]:
    """Return what ``old`` names: the network's own attention, or inserted gates."""
    own = _own_attention(model) if old == "se" else []
    found = list(inserted(model))
    gates = [(path, record.site, record.holds) for path, _, record in found if record.gate == old]
    if own and gates:
        raise InputError("'se' names the network's own attention and inserted gates; remove one")
    if own or gates:
        return own or gates
    if old != "se" and old not in GATES:
        raise unknown("gate", old, GATES)
    kind, names = type(model).__name__, sorted({record.gate for _, _, record in found})
    raise InputError(
        f"{kind} has no {old!r} to replace; its inserted gates are: {', '.join(names) or 'none'}"
    )


def _own_attention(model: nn.Module) -> list[Target]:
    return [
        (site.path, site, "slot")
        for site in list_sites(model)
        if site.name == "se" and MARK not in vars(model.get_submodule(site.path))
    ]


def _build_gates(
    model: nn.Module, wanted: Sequence[tuple[Site, str, Mapping[str, Any]]], start: str
) -> list[nn.Module]:
    """Return a gate for every site; the way out of a refusal serves all that get the same."""
    made: list[nn.Module] = []
    for site, gate, options in wanted:
        try:
            made.append(build_gate(model, Insertion(site, gate, options, start)))
        except InputError as error:
            refusal = error.__cause__
            if not isinstance(refusal, NotDivisible):
                raise
            place = str(error).removesuffix(str(refusal))
            said = refusal.for_all(other.channels for other, name, _ in wanted if name == gate)
            raise InputError(f"{place}{said}") from refusal
    return made
