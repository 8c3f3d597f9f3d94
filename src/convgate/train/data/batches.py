"""Batches of a training or validation split, ready for the network."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import torch
from torch import Tensor

from convgate.pictures.order import Share, TrainOrder, ValOrder, generator, seed_of
from convgate.train.data.augment import (
    draw_erasing,
    draw_mix,
    erase_,
    mix,
    partners,
    smooth_one_hot,
)
from convgate.train.data.specs import AugmentSpec


class PixelSource(Protocol):
    """Pixels and targets of the pictures that were asked for."""

    def load(self, shares: Sequence[Share], epoch: int) -> Iterator[tuple[Any, Any]]:
        """Yield uint8 (n, C, H, W) and int64 (n,) for each share; lists of them with objects."""


class Normalise:
    """uint8 pixels to float32 with channel mean 0 and standard deviation 1; targets untouched."""

    def __init__(self, mean: Sequence[float], std: Sequence[float]) -> None:
        self._scale = (1 / (255 * torch.tensor(std))).view(1, -1, 1, 1)
        self._shift = (-torch.tensor(mean) / torch.tensor(std)).view(1, -1, 1, 1)

    def __call__(
        self, pixels: Tensor, labels: Tensor, share: Share, epoch: int
    ) -> tuple[Tensor, Tensor]:
        return pixels.float().mul_(self._scale).add_(self._shift), labels


class Finish:
    """What follows normalisation in training: erasing, mixing and soft targets."""

    def __init__(self, normalise: Normalise, spec: AugmentSpec, classes: int, seed: int) -> None:
        self.normalise, self.spec, self.classes, self.seed = normalise, spec, classes, seed

    def __call__(
        self, pixels: Tensor, labels: Tensor, share: Share, epoch: int
    ) -> tuple[Tensor, Tensor]:
        x, _ = self.normalise(pixels, labels, share, epoch)
        if self.spec.random_erasing:
            self._erase_(x, share, epoch)
        return self._mix(x, labels, share, epoch)

    def _erase_(self, x: Tensor, share: Share, epoch: int) -> None:
        rng = generator(self.seed, epoch, share.batch, "erase")
        height, width = x.shape[2:]
        boxes = draw_erasing(share.total, (height, width), self.spec.random_erasing, rng)
        seeds = torch.randint(2**31, (share.total,), generator=rng)
        erase_(x, boxes[share.rows], seeds[share.rows])

    def _mix(self, x: Tensor, labels: Tensor, share: Share, epoch: int) -> tuple[Tensor, Tensor]:
        height, width = x.shape[2:]
        seed = seed_of(self.seed, epoch, share.batch, "mix")
        blend = draw_mix(self.spec, (height, width), seed)
        if blend is None and not self.spec.label_smoothing:
            return x, labels
        target = smooth_one_hot(labels, self.classes, self.spec.label_smoothing)
        if blend is None:
            return x, target
        other = target[partners(len(target))]
        return mix(x, blend), target.lerp(other, 1 - blend.ratio)


class Batches:
    """Batches of one split, the same for the same (seed, epoch).

    Iterating yields what the network takes. For classification that is x, float32 (N, C, H, W), and
    the target: class numbers, int64 (N,), or for mixup, CutMix and label smoothing class
    probabilities, float32 (N, K).
    """

    def __init__(
        self,
        source: PixelSource,
        order: TrainOrder | ValOrder,
        finish: Callable[[Any, Any, Share, int], tuple[Any, Any]],
    ) -> None:
        self.source, self._order, self._finish = source, order, finish
        self.epoch = 0

    def __len__(self) -> int:
        return len(self._order)

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self) -> Iterator[tuple[Any, Any]]:
        epoch = self.epoch
        shares = self._order.shares(epoch)
        loaded = self.source.load(shares, epoch)
        for share, (pixels, labels) in zip(shares, loaded, strict=True):
            yield self._finish(pixels, labels, share, epoch)


@dataclass(frozen=True)
class TaskData:
    """A training and a validation split, as a task opens them."""

    classes: tuple[str, ...]  # a label is a position in it, plus 1 where 0 is the background
    train: Batches  # shuffled and augmented
    val: Batches  # each picture once, in order
    train_images: int  # pictures used for training, of all processes
    val_images: int  # pictures used for validation, of all processes
    skipped: tuple[str, ...]  # what was left out as damaged or faulty
