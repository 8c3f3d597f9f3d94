"""Cheap attention for ConvNets: choose, insert, train, measure, see and ship gates.

The rest lives in the packages: `convgate.insertion`, `convgate.measure`, `convgate.models`,
`convgate.train`, `convgate.studies`.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convgate.deploy import export
    from convgate.errors import InputError
    from convgate.gates import Gate, create_gate, list_gates

__all__ = ["Gate", "InputError", "create_gate", "export", "list_gates"]

_HOME = {
    "Gate": "gates",
    "InputError": "errors",
    "create_gate": "gates",
    "export": "deploy",
    "list_gates": "gates",
}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for, so that `convgate --help` needs no torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'convgate' has no attribute {name!r}")
    return getattr(import_module(f"convgate.{_HOME[name]}"), name)
