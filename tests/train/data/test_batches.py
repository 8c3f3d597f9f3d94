import pytest
import torch
from torch.testing import assert_close

from convgate.pictures.order import TrainOrder
from convgate.train.data import AugmentSpec, Batches
from convgate.train.data.batches import Finish, Normalise
from convgate.train.data.storage import MemorySource

COUNT, CLASSES = 40, 5
IMAGES = torch.randint(256, (COUNT, 3, 8, 8), generator=torch.Generator().manual_seed(0)).byte()
LABELS = torch.arange(COUNT) % CLASSES
NORMALISE = Normalise((0.5, 0.4, 0.3), (0.2, 0.3, 0.4))
EVERYTHING = AugmentSpec(
    crop="pad",
    flip=True,
    mixup=0.8,
    cutmix=1.0,
    random_erasing=0.5,
    label_smoothing=0.1,
)


def batches(augment, batch_size=8, seed=0, rank=0, world_size=1):
    order = TrainOrder(COUNT, batch_size, seed=seed, rank=rank, world_size=world_size)
    source = MemorySource(IMAGES, LABELS, augment, seed)
    return Batches(source, order, Finish(NORMALISE, augment, CLASSES, seed))


def epoch_of(loader, epoch):
    loader.set_epoch(epoch)
    return list(loader)


def assert_same(first, second):
    for (x, y), (u, v) in zip(first, second, strict=True):
        assert torch.equal(x, u) and torch.equal(y, v)


def test_normalisation_is_the_formula():
    x, labels = NORMALISE(IMAGES, LABELS, None, 0)
    mean = torch.tensor([0.5, 0.4, 0.3], dtype=torch.float64).view(3, 1, 1)
    std = torch.tensor([0.2, 0.3, 0.4], dtype=torch.float64).view(3, 1, 1)
    assert x.dtype == torch.float32 and labels is LABELS
    assert_close(x.double(), (IMAGES.double() / 255 - mean) / std, rtol=1e-5, atol=1e-5)


def test_without_mixing_the_target_is_the_class_number():
    x, target = next(iter(batches(AugmentSpec(crop="pad", flip=True))))
    assert x.shape == (8, 3, 8, 8) and target.shape == (8,) and target.dtype == torch.int64


@pytest.mark.parametrize("key", ["mixup", "cutmix", "label_smoothing"])
def test_soft_targets_sum_to_one(key):
    for x, target in batches(AugmentSpec(**{key: 0.4})):
        assert x.dtype == target.dtype == torch.float32 and target.shape == (8, CLASSES)
        assert_close(target.sum(1), torch.ones(8))


def test_pictures_and_targets_are_mixed_with_the_same_partner_and_ratio():
    """Pictures that are their own one-hot label must stay equal to their target."""
    labels = torch.arange(COUNT) % 3
    images = (torch.eye(3)[labels] * 255).byte().view(-1, 3, 1, 1)
    augment = AugmentSpec(mixup=0.8)
    finish = Finish(Normalise((0.0,) * 3, (1.0,) * 3), augment, 3, 0)
    source = MemorySource(images, labels, augment, 0)
    for x, target in Batches(source, TrainOrder(COUNT, 8, seed=0), finish):
        assert_close(x.flatten(1), target)


def test_cutmix_targets_hold_the_area():
    labels = torch.arange(COUNT) % 3
    images = (torch.eye(3)[labels] * 255).byte().view(-1, 3, 1, 1).expand(-1, -1, 9, 7)
    augment = AugmentSpec(cutmix=1.0)
    finish = Finish(Normalise((0.0,) * 3, (1.0,) * 3), augment, 3, 0)
    loader = Batches(MemorySource(images, labels, augment, 0), TrainOrder(COUNT, 8, seed=0), finish)
    for x, target in loader:
        assert_close(x.mean((2, 3)), target)


def test_an_epoch_is_a_function_of_seed_and_epoch():
    loader = batches(EVERYTHING)
    second = epoch_of(loader, 2)
    epoch_of(loader, 5)
    assert_same(epoch_of(loader, 2), second)
    assert_same(epoch_of(batches(EVERYTHING), 2), second)
    assert not torch.equal(epoch_of(loader, 3)[0][0], second[0][0])
    assert not torch.equal(epoch_of(batches(EVERYTHING, seed=1), 2)[0][0], second[0][0])


def test_every_batch_and_epoch_draws_its_own_blend():
    augment, labels = AugmentSpec(mixup=0.8), torch.arange(COUNT)  # no pair shares its label
    source, order = MemorySource(IMAGES, labels, augment), TrainOrder(COUNT, 8, seed=0)
    loader = Batches(source, order, Finish(NORMALISE, augment, COUNT, 0))
    ratios = [target.max().item() for epoch in range(3) for _, target in epoch_of(loader, epoch)]
    assert len(set(ratios)) == len(ratios)


def test_every_batch_and_epoch_draws_its_own_rectangles():
    plain, erased = batches(AugmentSpec()), batches(AugmentSpec(random_erasing=1.0))
    masks = [
        tuple((x != y).any(1).flatten().tolist())
        for epoch in range(3)
        for (x, _), (y, _) in zip(epoch_of(plain, epoch), epoch_of(erased, epoch), strict=True)
    ]
    assert len(set(masks)) == len(masks)


def test_a_batch_needs_none_of_those_before_it():
    loader = batches(EVERYTHING)
    whole = epoch_of(loader, 1)
    shares = TrainOrder(COUNT, 8, seed=0).shares(1)[3:]
    ((pixels, labels), *_) = loader.source.load(shares, 1)
    x, target = loader._finish(pixels, labels, shares[0], 1)
    assert torch.equal(x, whole[3][0]) and torch.equal(target, whole[3][1])


@pytest.mark.parametrize("world_size", [2, 4])
def test_slices_of_all_processes_make_the_batch_of_one(world_size):
    parts = [
        epoch_of(batches(EVERYTHING, 8 // world_size, rank=rank, world_size=world_size), 1)
        for rank in range(world_size)
    ]
    joined = [
        (torch.cat([x for x, _ in shares]), torch.cat([y for _, y in shares]))
        for shares in zip(*parts, strict=True)
    ]
    assert_same(joined, epoch_of(batches(EVERYTHING), 1))


def test_the_global_generator_is_neither_used_nor_moved():
    state = torch.random.get_rng_state()
    first = list(batches(EVERYTHING))
    assert torch.equal(torch.random.get_rng_state(), state)
    torch.manual_seed(99)
    assert_same(list(batches(EVERYTHING)), first)


def test_what_is_stored_is_never_changed():
    before = IMAGES.clone()
    list(batches(EVERYTHING))
    assert torch.equal(IMAGES, before)


def test_the_length_is_what_is_given():
    loader = batches(AugmentSpec())
    assert len(loader) == len(list(loader)) == 5
