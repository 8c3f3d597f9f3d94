import hashlib

import pytest
import torch

from convgate.errors import InputError
from convgate.pictures.order import TrainOrder, ValOrder, generator, seed_of


def indices(order, epoch=0):
    return [share.indices.tolist() for share in order.shares(epoch)]


def test_the_seed_depends_on_every_part_of_the_key():
    keys = [(0, 1), (1, 0), (0, 1, 0), (0, 1, "a"), (0, 1, "b"), (0, 11)]
    assert len({seed_of(*key) for key in keys}) == len(set(keys))


def test_the_seed_is_63_bits_of_a_hash_that_no_process_changes():
    digest = hashlib.blake2b(b"(3, 'a')", digest_size=8).digest()
    assert seed_of(3, "a") == int.from_bytes(digest, "little") // 2


def test_a_generator_leaves_the_global_one_alone():
    state = torch.random.get_rng_state()
    torch.rand(3, generator=generator(1, 2))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_an_epoch_is_a_permutation_without_the_last_incomplete_batch():
    batches = indices(TrainOrder(23, 5, seed=0))
    flat = [i for batch in batches for i in batch]
    assert [len(batch) for batch in batches] == [5] * 4
    assert len(set(flat)) == 20 and set(flat) <= set(range(23))


def test_an_only_batch_is_kept_though_incomplete():
    (batch,) = indices(TrainOrder(3, 5, seed=0))
    assert sorted(batch) == [0, 1, 2]


def test_the_order_is_a_function_of_seed_and_epoch():
    order = TrainOrder(64, 8, seed=1)
    first = indices(order, 3)
    indices(order, 4)
    assert indices(order, 3) == first == indices(TrainOrder(64, 8, seed=1), 3)
    assert indices(order, 4) != first
    assert indices(TrainOrder(64, 8, seed=2), 3) != first


@pytest.mark.parametrize("world_size", [2, 3])
def test_slices_of_all_processes_make_the_batch_of_one(world_size):
    one = TrainOrder(50, 4 * world_size, seed=0).shares(2)
    parts = [
        TrainOrder(50, 4, seed=0, rank=rank, world_size=world_size).shares(2)
        for rank in range(world_size)
    ]
    assert all(len(part) == len(one) for part in parts)
    for whole, *shares in zip(one, *parts, strict=True):
        assert torch.equal(torch.cat([share.indices for share in shares]), whole.indices)
        rows = torch.arange(whole.total)
        assert torch.equal(torch.cat([rows[share.rows] for share in shares]), rows)


def test_processes_cannot_share_an_incomplete_batch():
    with pytest.raises(InputError, match=r"7 training pictures .* at most 3"):
        TrainOrder(7, 4, seed=0, world_size=2)


@pytest.mark.parametrize("count", [1, 5, 8, 9, 16, 17, 31])
@pytest.mark.parametrize("world_size", [1, 2, 3])
def test_validation_counts_every_picture_once_in_equally_many_batches(count, world_size):
    orders = [ValOrder(count, 4, rank=rank, world_size=world_size) for rank in range(world_size)]
    seen = [i for order in orders for batch in indices(order) for i in batch]
    assert sorted(seen) == list(range(count))
    assert len({len(order) for order in orders}) == 1
    assert max(len(batch) for order in orders for batch in indices(order)) <= 4


def test_validation_of_one_process_is_in_order():
    assert indices(ValOrder(5, 2)) == [[0, 1], [2, 3], [4]]


def test_an_epoch_of_so_many_batches_runs_on_through_the_passes():
    """Seven pictures in batches of two, five batches an epoch: 3 epochs are 30 of 35 pictures."""
    order = TrainOrder(7, 2, seed=5, batches=5)
    assert len(order) == 5
    drawn = [i for epoch in range(3) for s in order.shares(epoch) for i in s.indices.tolist()]
    passes = [sorted(drawn[start : start + 7]) for start in range(0, 28, 7)]
    assert passes == [list(range(7))] * 4
    assert drawn[:7] != drawn[7:14]
    halves = [TrainOrder(7, 1, seed=5, rank=r, world_size=2, batches=5) for r in range(2)]
    for one, left, right in zip(order.shares(2), *(h.shares(2) for h in halves), strict=True):
        assert one.indices.tolist() == [*left.indices.tolist(), *right.indices.tolist()]
