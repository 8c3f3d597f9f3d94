"""Attention into any backbone, without changing what it computes or what its weights are called."""

from convgate.insertion.attach import Insertion, inserted
from convgate.insertion.identity import Blend, IdentityStart, Rescaled, start_as_identity
from convgate.insertion.movement import MIN_MOVEMENT, describe_movement, measure_movement
from convgate.insertion.report import GateRow, InsertReport
from convgate.insertion.selection import find_sites
from convgate.insertion.sites import SITES, Site, list_sites
from convgate.insertion.surgery import insert, remove, replace

__all__ = [
    "MIN_MOVEMENT", "SITES", "Blend", "GateRow", "IdentityStart", "InsertReport", "Insertion",
    "Rescaled", "Site", "describe_movement", "find_sites", "insert", "inserted", "list_sites",
    "measure_movement", "remove", "replace", "start_as_identity",
]  # fmt: skip
