"""Exact algebra that makes gates cheap at inference."""

from convgate.folding.pipeline import fold, folded
from convgate.folding.report import Fold, FoldReport, Kept

__all__ = ["Fold", "FoldReport", "Kept", "fold", "folded"]
