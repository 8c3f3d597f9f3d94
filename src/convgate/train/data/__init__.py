"""Data sets as reproducible batches."""

from convgate.train.data.batches import Batches
from convgate.train.data.opening import ImageData, open_data
from convgate.train.data.specs import DATASETS, DETECTION_DATASETS, AugmentSpec, DataSpec

__all__ = [
    "DATASETS", "DETECTION_DATASETS", "AugmentSpec", "Batches", "DataSpec", "ImageData",
    "open_data",
]  # fmt: skip
