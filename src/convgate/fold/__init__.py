"""Exact algebra that makes gates cheap at inference."""

from convgate.fold.folding import fold, folded
from convgate.fold.report import Fold, FoldReport, Kept

__all__ = ["Fold", "FoldReport", "Kept", "fold", "folded"]
