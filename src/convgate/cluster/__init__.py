"""Independent trainings on many machines, by Ray."""

from convgate.cluster.cells import CellResult, TrainingCell, Work, run_cells
from convgate.cluster.session import RayOptions, RaySession, open_session

__all__ = [
    "CellResult",
    "RayOptions",
    "RaySession",
    "TrainingCell",
    "Work",
    "open_session",
    "run_cells",
]
