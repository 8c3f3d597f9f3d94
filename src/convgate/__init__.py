"""Cheap attention for ConvNets: choose, insert, train, measure, see and ship gates."""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convgate.errors import InputError
    from convgate.gates import Gate, create_gate, list_gates
    from convgate.insert import insert, list_sites, remove, replace
    from convgate.measure import compare_latency, measure

__all__ = [
    "Gate",
    "InputError",
    "compare_latency",
    "create_gate",
    "insert",
    "list_gates",
    "list_sites",
    "measure",
    "remove",
    "replace",
]

_HOME = {
    "Gate": "gates",
    "InputError": "errors",
    "compare_latency": "measure",
    "create_gate": "gates",
    "insert": "insert",
    "list_gates": "gates",
    "list_sites": "insert",
    "measure": "measure",
    "remove": "insert",
    "replace": "insert",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for, so that `convgate --help` needs no torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'convgate' has no attribute {name!r}")
    return getattr(import_module(f"convgate.{_HOME[name]}"), name)
