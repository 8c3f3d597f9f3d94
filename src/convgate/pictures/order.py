"""Which pictures make which batch: a pure function of (seed, epoch, batch).

Torch's DistributedSampler repeats pictures until every process has as many, which would count some
twice in a score, and takes only whole passes; here an epoch may also be a number of batches.
"""

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import torch
from torch import Tensor

from convgate.errors import InputError


def seed_of(*key: int | str) -> int:
    """Return a 63-bit seed that depends on every part of ``key`` and on nothing else."""
    digest = hashlib.blake2b(repr(key).encode(), digest_size=8).digest()
    return int.from_bytes(digest, "little") >> 1


def generator(*key: int | str) -> torch.Generator:
    # The CPU engine keeps 32 bits of its seed.
    return torch.Generator().manual_seed(seed_of(*key) & 0xFFFFFFFF)


@contextmanager
def seeded(seed: int) -> Iterator[None]:
    """Seed torch's global generator, which torchvision's transforms draw from, for one block."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed & 0xFFFFFFFF)
        yield


@dataclass(frozen=True)
class Share:
    """The part of one global batch that belongs to this process."""

    batch: int  # number of the batch in its epoch
    indices: Tensor  # positions in the set, (n,) int64
    start: int  # row of the global batch at which this part begins
    total: int  # rows of the global batch

    @property
    def rows(self) -> slice:
        return slice(self.start, self.start + len(self.indices))


class TrainOrder:
    """Shuffled batches; process ``rank`` takes its slice of each global batch.

    The global batch holds ``batch_size * world_size`` pictures, so two processes with batch b see
    exactly what one process with batch 2b sees. An epoch is one pass, whose last incomplete batch
    is dropped unless it is the only one; or, with ``batches``, so many batches of one pass after
    another.
    """

    def __init__(
        self,
        count: int,
        batch_size: int,
        *,
        seed: int,
        rank: int = 0,
        world_size: int = 1,
        batches: int = 0,
    ) -> None:
        self.count, self.batch_size, self.seed, self.rank = count, batch_size, seed, rank
        self.total, self.batches = batch_size * world_size, batches
        if world_size > 1 and count < self.total:
            raise InputError(
                f"{count} training pictures cannot fill one batch of {batch_size} in each of "
                f"{world_size} processes; use a batch size of at most {count // world_size}"
            )

    def __len__(self) -> int:
        return self.batches or max(1, self.count // self.total)

    def shares(self, epoch: int) -> list[Share]:
        order = self._running(epoch) if self.batches else self._pass(epoch)
        return [self._share(order, batch) for batch in range(len(self))]

    def _pass(self, number: int) -> Tensor:
        return torch.randperm(self.count, generator=generator(self.seed, number))

    def _running(self, epoch: int) -> Tensor:
        """Return the pictures of an epoch that begins and ends anywhere in a pass."""
        length = self.batches * self.total
        first, skipped = divmod(epoch * length, self.count)
        last = (epoch * length + length - 1) // self.count
        passes = [self._pass(number) for number in range(first, last + 1)]
        return torch.cat(passes)[skipped : skipped + length]

    def _share(self, order: Tensor, batch: int) -> Share:
        rows = order[batch * self.total : (batch + 1) * self.total]
        start = self.rank * self.batch_size
        return Share(batch, rows[start : start + self.batch_size], start, len(rows))


class ValOrder:
    """Every picture once, in order; process ``rank`` takes each ``world_size``-th.

    All processes make the same number of batches, so that collective calls inside a forward pass
    stay matched; where the counts differ by one picture, batches are a little smaller (and may be
    empty when the batch size is 1 or there are fewer pictures than processes).
    """

    def __init__(self, count: int, batch_size: int, *, rank: int = 0, world_size: int = 1) -> None:
        mine = torch.arange(count)[rank::world_size]
        longest = -(-count // world_size)
        batches = -(-longest // batch_size)
        even = -(-len(mine) // batch_size) == batches
        self._parts = torch.split(mine, batch_size) if even else mine.tensor_split(batches)

    def __len__(self) -> int:
        return len(self._parts)

    def shares(self, epoch: int) -> list[Share]:
        return [Share(number, part, 0, len(part)) for number, part in enumerate(self._parts)]
