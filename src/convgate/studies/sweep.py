"""One option of the gates as an axis of a study."""

import tomllib
from collections.abc import Mapping
from dataclasses import replace

from convgate.errors import InputError
from convgate.studies.grid import Variant
from convgate.studies.network import Network

OPTIONS = "gate.options."


def sweep(networks: Mapping[Variant, Network], axis: str) -> dict[Variant, Network]:
    """Put one network for each value of an option in the place of each gated one.

    Args:
        networks: What each variant builds; the bases stay as they are.
        axis: The option and its values, as in "gate.options.groups=1,2,4".

    Raises:
        InputError: if the axis reads otherwise, or nothing has a gate.
    """
    option, values = _read(axis)
    swept: dict[Variant, Network] = {}
    for variant, network in networks.items():
        if variant.is_base or network.gate is None:
            swept[variant] = network
            continue
        for value in values:
            gate = replace(network.gate, options=network.gate.options | {option: value})
            swept[replace(variant, setting=f"{option}={value}")] = replace(network, gate=gate)
    if swept.keys() == networks.keys():
        raise InputError(f"--sweep {axis}: no network of the study has a gate; name one")
    return swept


def _read(axis: str) -> tuple[str, list[object]]:
    key, equals, text = axis.partition("=")
    option = key.strip().removeprefix(OPTIONS)
    if not equals or not key.strip().startswith(OPTIONS) or not option.isidentifier():
        raise InputError(f"--sweep {axis!r}: write an option as in {OPTIONS}groups=1,2,4")
    try:
        values = tomllib.loads(f"values = [{text}]")["values"]
    except tomllib.TOMLDecodeError:  # bare words are texts
        values = [word.strip() for word in text.split(",") if word.strip()]
    if not values:
        raise InputError(f"--sweep {axis!r}: there is no value behind the sign")
    return option, values
