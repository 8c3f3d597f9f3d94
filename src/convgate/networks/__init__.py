"""Networks that a user has: opened by one door, described by one card, given pictures one way."""

from convgate.networks.build import build_network
from convgate.networks.card import Card, load_network, read_card, save_network
from convgate.networks.gates import add_gate, gates_of
from convgate.networks.hub import load_hub, save_hub
from convgate.networks.labelled import open_labelled
from convgate.networks.labels import class_words, classes_called, distinct
from convgate.networks.opening import (
    Network,
    check_task,
    open_network,
    open_networks,
    resized,
)
from convgate.networks.origin import start_from
from convgate.networks.preprocessing import Preprocessing
from convgate.networks.specs import DetectorSpec, GateSpec, ModelSpec, TaskSpec

__all__ = [
    "Card", "DetectorSpec", "GateSpec", "ModelSpec", "Network", "Preprocessing", "TaskSpec",
    "add_gate", "build_network", "check_task", "class_words", "classes_called", "distinct",
    "gates_of", "load_hub", "load_network", "open_labelled", "open_network", "open_networks",
    "read_card", "resized", "save_hub", "save_network", "start_from",
]  # fmt: skip
