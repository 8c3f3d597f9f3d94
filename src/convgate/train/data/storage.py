"""Where pictures live: decoded in memory, once, or read again in every epoch."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass

import torch
from PIL import Image
from torch import Tensor

from convgate.errors import CorruptFile, InputError
from convgate.pictures.decoding import square, to_tensor
from convgate.pictures.labelled import ArrayPictures, HeldPictures, Pictures, decode_all, positions
from convgate.pictures.order import Share, generator
from convgate.train.data.augment import mirror, pad_crop
from convgate.train.data.sets import PictureSet
from convgate.train.data.specs import AugmentSpec, DataSpec
from convgate.train.data.stream import PreparePicture, StreamSource

_MEMORY_BYTES = 2 * 10**9
_SAMPLED = 64
_IMAGENET_MEAN, _IMAGENET_STD = (0.485, 0.456, 0.406), (0.229, 0.224, 0.225)


class MemorySource:
    """Pixels of a whole split, with the window and the mirror of ``augment`` for whole batches."""

    def __init__(
        self, images: Tensor, labels: Tensor, augment: AugmentSpec | None = None, seed: int = 0
    ) -> None:
        self.images, self.labels, self.augment, self.seed = images, labels, augment, seed

    def load(self, shares: Sequence[Share], epoch: int) -> Iterator[tuple[Tensor, Tensor]]:
        for share in shares:
            pixels = self.images[share.indices]
            if self.augment is not None:
                pixels = self._move(pixels, self.augment, share, epoch)
            yield pixels, self.labels[share.indices]

    def _move(self, pixels: Tensor, augment: AugmentSpec, share: Share, epoch: int) -> Tensor:
        rng = generator(self.seed, epoch, share.batch, "move")
        padding = augment.crop_padding
        offsets = torch.randint(2 * padding + 1, (share.total, 2), generator=rng)[share.rows]
        turned = (torch.rand(share.total, generator=rng) < 0.5)[share.rows]
        if augment.crop == "pad":
            pixels = pad_crop(pixels, offsets, padding)
        return mirror(pixels, turned) if augment.flip else pixels


def channel_statistics(chunks: Iterable[Tensor]) -> tuple[tuple[float, ...], tuple[float, ...]]:
    """Return mean and standard deviation of each channel of uint8 (N, C, H, W) chunks, in 0 .. 1.

    They come from exact counts of the 256 levels. A channel without contrast gets the standard
    deviation of one level, so that dividing by it is safe.
    """
    counts = sum(_count_levels(chunk) for chunk in chunks)
    assert isinstance(counts, Tensor)
    levels = torch.arange(256, dtype=torch.float64) / 255
    share = counts.double() / counts.sum(1, keepdim=True)  # (C, 256)
    mean = share @ levels
    variance = (share * (levels - mean.unsqueeze(1)) ** 2).sum(1)
    std = variance.sqrt().clamp(min=1 / 255)
    return tuple(mean.tolist()), tuple(std.tolist())


def _count_levels(chunk: Tensor) -> Tensor:
    return torch.stack([c.flatten().bincount(minlength=256) for c in chunk.unbind(1)])


@dataclass(frozen=True)
class Sources:
    """Both splits, ready to be asked for batches."""

    train: MemorySource | StreamSource
    val: MemorySource | StreamSource
    counts: tuple[int, int]
    mean: tuple[float, ...]
    std: tuple[float, ...]
    skipped: tuple[str, ...]


def open_sources(found: PictureSet, spec: DataSpec, augment: AugmentSpec, seed: int) -> Sources:
    """Decode a set that fits in memory, or prepare to stream it."""
    in_memory = spec.storage == "memory" or (
        spec.storage == "auto" and decoded_bytes(found, spec, augment) <= _MEMORY_BYTES
    )
    prepare = PreparePicture(spec.image_px, augment, seed)
    open_them = _hold if in_memory else _stream
    sources = open_them(found, spec, prepare)
    for count, split in zip(sources.counts, ("training", "validation"), strict=True):
        if count == 0:
            raise InputError(f"{spec.name}: every {split} picture is damaged")
    return sources


def decoded_bytes(found: PictureSet, spec: DataSpec, augment: AugmentSpec) -> int:
    """Estimate the bytes of the decoded set, from a sample where pictures are kept whole."""
    square_bytes = found.in_chans * spec.image_px**2
    if augment.crop != "resized":
        return square_bytes * (len(found.train) + len(found.val))
    step = max(1, len(found.train) // _SAMPLED)
    sizes = [_pixels(found.train, i) for i in range(0, len(found.train), step)]
    whole_bytes = found.in_chans * sum(sizes) // len(sizes)
    return whole_bytes * len(found.train) + square_bytes * len(found.val)


def _pixels(pictures: Pictures, index: int) -> int:
    try:
        image = pictures.load(index)
    except CorruptFile:  # reported when all are read
        return 0
    return image.width * image.height


def _hold(found: PictureSet, spec: DataSpec, prepare: PreparePicture) -> Sources:
    assert prepare.augment is not None
    whole = prepare.augment.crop == "resized"
    train, train_bad = _decode_whole(found.train, spec) if whole else _squares(found.train, spec)
    val, val_bad = _squares(found.val, spec)
    mean, std = channel_statistics(_chunks(train)) if len(train) else ((), ())
    return Sources(
        _train_source(train, prepare, spec),
        MemorySource(val.images, val.labels),
        (len(train), len(val)),
        mean,
        std,
        (*train_bad, *val_bad),
    )


def _decode_whole(pictures: Pictures, spec: DataSpec) -> tuple[HeldPictures, list[str]]:
    images, good, bad = decode_all(
        pictures, lambda image: image, workers=spec.workers, skip_bad=spec.skip_bad
    )
    return HeldPictures(images, pictures.labels[positions(good)]), bad


def _squares(pictures: Pictures, spec: DataSpec) -> tuple[ArrayPictures, list[str]]:
    def cut(image: Image.Image) -> Tensor:
        return to_tensor(square(image, spec.image_px))

    images, good, bad = decode_all(pictures, cut, workers=spec.workers, skip_bad=spec.skip_bad)
    stacked = torch.stack(images) if images else torch.empty(0, 3, 1, 1, dtype=torch.uint8)
    return ArrayPictures(stacked, pictures.labels[positions(good)]), bad


def _chunks(pictures: ArrayPictures | HeldPictures) -> Iterable[Tensor]:
    if isinstance(pictures, ArrayPictures):
        return torch.split(pictures.images, 4096)
    return (to_tensor(image).unsqueeze(0) for image in pictures.images)


def _train_source(
    pictures: ArrayPictures | HeldPictures, prepare: PreparePicture, spec: DataSpec
) -> MemorySource | StreamSource:
    if isinstance(pictures, ArrayPictures) and not prepare.strong:
        return MemorySource(pictures.images, pictures.labels, prepare.augment, prepare.seed)
    return StreamSource(pictures, prepare, spec.workers)


def _stream(found: PictureSet, spec: DataSpec, prepare: PreparePicture) -> Sources:
    train, train_bad = _without_bad(found.train, spec)
    val, val_bad = _without_bad(found.val, spec)
    chans = found.in_chans
    return Sources(
        StreamSource(train, prepare, spec.workers),
        StreamSource(val, PreparePicture(spec.image_px), spec.workers),
        (len(train), len(val)),
        _IMAGENET_MEAN if chans == 3 else (0.5,) * chans,
        _IMAGENET_STD if chans == 3 else (0.5,) * chans,
        (*train_bad, *val_bad),
    )


def _without_bad(pictures: Pictures, spec: DataSpec) -> tuple[Pictures, list[str]]:
    """Leave out what cannot be decoded, which takes a pass over all files, if asked for."""
    if not spec.skip_bad:
        return pictures, []
    _, good, bad = decode_all(pictures, lambda image: None, workers=spec.workers, skip_bad=True)
    return (pictures.select(good) if bad else pictures), bad
