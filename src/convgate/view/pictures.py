"""Photographs in batches, cut as a network wants them."""

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch import Tensor

from convgate.errors import InputError
from convgate.networks import Preprocessing
from convgate.pictures.labelled import FilePictures
from convgate.pictures.order import ValOrder
from convgate.train.data.stream import load_items

OnProgress = Callable[[str, float], None]
BATCH = 32


def stream(
    pictures: FilePictures,
    images: Preprocessing,
    *,
    batch: int = BATCH,
    workers: int = 0,
    on_progress: OnProgress | None = None,
) -> Iterator[Tensor]:
    """Yield the pictures as a network sees them, uint8 (N, C, H, W), a batch in memory.

    Normalised by `Network.normalise` they are what `predict` gives to the network.

    Raises:
        InputError: if the batch is empty.
        CorruptFile: for a damaged picture.
    """
    if batch < 1 or workers < 0:
        raise InputError(f"batch={batch}, workers={workers}: give at least 1 and 0")
    shares = ValOrder(len(pictures), batch).shares(0)
    done = 0
    for cut in load_items(partial(_cut, pictures, images), shares, workers):
        yield torch.stack(cut)
        done += len(cut)
        if on_progress is not None:
            on_progress(f"{done:,} of {len(pictures):,} pictures", done / len(pictures))


def _cut(pictures: FilePictures, images: Preprocessing, index: int) -> Tensor:
    return images.pixels(pictures.load(index))
