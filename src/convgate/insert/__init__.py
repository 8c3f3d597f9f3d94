"""Attention into any backbone, without changing what it computes or what its weights are called."""

from convgate.insert.attach import Insertion, inserted
from convgate.insert.identity import IdentityStart, start_as_identity
from convgate.insert.report import InsertReport, Row
from convgate.insert.rules import SITES
from convgate.insert.select import find_sites
from convgate.insert.sites import Site, list_sites
from convgate.insert.surgery import insert, remove, replace

__all__ = [
    "SITES",
    "IdentityStart",
    "InsertReport",
    "Insertion",
    "Row",
    "Site",
    "find_sites",
    "insert",
    "inserted",
    "list_sites",
    "remove",
    "replace",
    "start_as_identity",
]
