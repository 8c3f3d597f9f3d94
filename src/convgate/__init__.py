"""Cheap attention for ConvNets: choose, insert, train, measure, see and ship gates.

    import convgate as cg

    network = cg.open_network("resnet50", pretrained=True)
    print(cg.insert(network.model, "seln", stages=(3, 4)))
    print(cg.compare_latency({"gated": network.model}, network.example()))

What is listed here is the documented surface; it is loaded when it is first asked for.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from convgate.deploy.export import export
    from convgate.deploy.predict import predict
    from convgate.errors import InputError
    from convgate.folding import fold
    from convgate.gates import Gate, create_gate, list_gates
    from convgate.insertion import insert, list_sites, remove, replace
    from convgate.measure import compare_latency, count
    from convgate.models import create_model, list_models
    from convgate.networks import Network, open_network
    from convgate.searches import search
    from convgate.studies import run_study
    from convgate.train.evaluate import evaluate
    from convgate.train.fit import fit
    from convgate.train.recipe import load_recipe

__all__ = [
    "Gate",
    "InputError",
    "Network",
    "compare_latency",
    "count",
    "create_gate",
    "create_model",
    "evaluate",
    "export",
    "fit",
    "fold",
    "insert",
    "list_gates",
    "list_models",
    "list_sites",
    "load_recipe",
    "open_network",
    "predict",
    "remove",
    "replace",
    "run_study",
    "search",
]

_HOMES = {
    "deploy.export": ("export",),
    "deploy.predict": ("predict",),
    "errors": ("InputError",),
    "folding": ("fold",),
    "gates": ("Gate", "create_gate", "list_gates"),
    "insertion": ("insert", "list_sites", "remove", "replace"),
    "measure": ("compare_latency", "count"),
    "models": ("create_model", "list_models"),
    "networks": ("Network", "open_network"),
    "searches": ("search",),
    "studies": ("run_study",),
    "train.evaluate": ("evaluate",),
    "train.fit": ("fit",),
    "train.recipe": ("load_recipe",),
}
_HOME = {name: home for home, names in _HOMES.items() for name in names}


def __getattr__(name: str) -> object:
    """Load a public name when it is first asked for, so that `convgate --help` needs no torch."""
    if name not in _HOME:
        raise AttributeError(f"module 'convgate' has no attribute {name!r}")
    return getattr(import_module(f"convgate.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
