import statistics
import time

import pytest
import torch
from torch.testing import assert_close

from convgate.models import create_model
from convgate.pictures.order import TrainOrder
from convgate.train.data import AugmentSpec, Batches
from convgate.train.data.batches import Finish, Normalise
from convgate.train.data.storage import MemorySource, channel_statistics

IMAGES = torch.randint(256, (600, 3, 4, 4), generator=torch.Generator().manual_seed(0)).byte()
LABELS = torch.arange(600) % 7


def test_statistics_are_those_of_all_pixels():
    mean, std = channel_statistics(IMAGES.split(100))
    x = IMAGES.double() / 255
    assert_close(torch.tensor(mean).double(), x.mean((0, 2, 3)), rtol=1e-6, atol=1e-6)
    assert_close(torch.tensor(std).double(), x.std((0, 2, 3), correction=0), rtol=1e-6, atol=1e-6)


def test_a_channel_without_contrast_can_be_divided_by():
    mean, std = channel_statistics([torch.full((2, 1, 3, 3), 51, dtype=torch.uint8)])
    assert mean == pytest.approx((0.2,)) and std == pytest.approx((1 / 255,))


def test_validation_is_what_was_stored():
    order = TrainOrder(600, 32, seed=0).shares(0)
    for share, (pixels, labels) in zip(
        order, MemorySource(IMAGES, LABELS).load(order, 0), strict=True
    ):
        assert torch.equal(pixels, IMAGES[share.indices])
        assert torch.equal(labels, LABELS[share.indices])


def test_every_window_and_both_directions_occur_evenly():
    """A picture that holds its column number tells how it was moved."""
    columns = torch.arange(1, 4, dtype=torch.uint8).expand(2000, 1, 3, 3)
    augment = AugmentSpec(crop="pad", crop_padding=1, flip=True)
    source = MemorySource(columns, torch.zeros(2000, dtype=torch.long), augment, seed=0)
    ((pixels, _),) = source.load(TrainOrder(2000, 2000, seed=0).shares(0), 0)
    middle = pixels[:, 0, 1].tolist()  # the middle row never leaves the picture
    kinds = [[0, 1, 2], [1, 2, 3], [2, 3, 0]]
    expected = [row for kind in kinds for row in (kind, kind[::-1])]
    counts = [middle.count(row) for row in expected]
    assert sum(counts) == 2000
    assert min(counts) > 2000 / 6 - 4 * (2000 * 5 / 36) ** 0.5


def test_every_batch_and_epoch_moves_in_its_own_way():
    columns = torch.arange(1, 4, dtype=torch.uint8).expand(40, 1, 3, 3)
    source = MemorySource(
        columns, torch.zeros(40, dtype=torch.long), AugmentSpec(crop="pad", flip=True), seed=0
    )
    order = TrainOrder(40, 20, seed=0)
    moved = [
        tuple(x.flatten().tolist())
        for epoch in range(3)
        for x, _ in source.load(order.shares(epoch), epoch)
    ]
    assert len(set(moved)) == len(moved)


def test_without_flip_nothing_is_mirrored():
    columns = torch.arange(1, 4, dtype=torch.uint8).expand(50, 1, 3, 3)
    source = MemorySource(columns, torch.zeros(50, dtype=torch.long), AugmentSpec(), seed=0)
    ((pixels, _),) = source.load(TrainOrder(50, 50, seed=0).shares(0), 0)
    assert torch.equal(pixels, columns)


@pytest.mark.slow
def test_loading_is_a_small_part_of_a_step():
    """Below 5 % of a ResNet-20 training step at batch 128, all on this CPU."""
    images = torch.randint(256, (1280, 3, 32, 32)).byte()
    labels = torch.arange(1280) % 10
    augment = AugmentSpec(crop="pad", flip=True, mixup=0.8, cutmix=1.0, random_erasing=0.25)
    finish = Finish(Normalise((0.5,) * 3, (0.3,) * 3), augment, 10, 0)
    order = TrainOrder(1280, 128, seed=0)
    batches = iter(Batches(MemorySource(images, labels, augment), order, finish))
    model = create_model("resnet20", num_classes=10)
    loading, training = [], []
    for _ in range(10):
        start = time.perf_counter()
        x, target = next(batches)
        loaded = time.perf_counter()
        torch.nn.functional.cross_entropy(model(x), target).backward()
        loading.append(loaded - start)
        training.append(time.perf_counter() - loaded)
    assert statistics.median(loading) < 0.05 * statistics.median(training)
