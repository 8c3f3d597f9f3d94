"""Data sets as reproducible batches."""

from convgate.train.data.batches import Batches
from convgate.train.data.opening import ImageData, open_data
from convgate.train.data.specs import DATASETS, SCENES, AugmentSpec, DataSpec

__all__ = [
    "DATASETS",
    "SCENES",
    "AugmentSpec",
    "Batches",
    "DataSpec",
    "ImageData",
    "open_data",
]
