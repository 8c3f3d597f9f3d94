"""Gates: one paper, one file, one class."""

from convgate.gates.base import GATES, Gate, create_gate, list_gates
from convgate.gates.seln import SELN

__all__ = ["GATES", "SELN", "Gate", "create_gate", "list_gates"]
