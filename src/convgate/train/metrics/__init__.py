"""Scores of detection over a whole split, gathered from all processes."""

from convgate.train.metrics.precision import AveragePrecision

__all__ = ["AveragePrecision"]
