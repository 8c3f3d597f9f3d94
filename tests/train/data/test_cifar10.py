"""CIFAR-10 itself, where CONVGATE_CIFAR10 names the zip."""

import os

import pytest
import torch

from convgate.train.data import AugmentSpec, DataSpec, open_data

PATH = os.environ.get("CONVGATE_CIFAR10", "")
pytestmark = [
    pytest.mark.data,
    pytest.mark.skipif(not os.path.exists(PATH), reason="CONVGATE_CIFAR10 names no file"),
]
AUGMENT = AugmentSpec(crop="pad", flip=True)


def spec(**options):
    return DataSpec(name="cifar10", image_px=32, path=PATH, **options)


@pytest.fixture(scope="module")
def cifar10():
    return open_data(spec(), AUGMENT, batch_size=128, seed=0)


def test_size_and_classes(cifar10):
    assert (cifar10.train_images, cifar10.val_images) == (50_000, 10_000)
    assert len(cifar10.classes) == 10 and cifar10.classes[0] == "airplane"
    assert (len(cifar10.train), len(cifar10.val)) == (390, 79)
    assert cifar10.skipped == ()


def test_statistics_are_the_published_ones(cifar10):
    # re-encoding as JPEG loses a little contrast
    assert cifar10.mean == pytest.approx((0.4914, 0.4822, 0.4465), abs=0.002)
    assert cifar10.std == pytest.approx((0.2470, 0.2435, 0.2616), abs=0.003)


def test_validation_has_a_thousand_of_each_class(cifar10):
    assert torch.cat([y for _, y in cifar10.val]).bincount().tolist() == [1000] * 10


def test_a_subset_is_quick_and_balanced():
    data = open_data(spec(train_count=1000), AUGMENT, batch_size=1000, seed=0)
    ((x, y),) = data.train
    assert x.shape == (1000, 3, 32, 32) and y.bincount().tolist() == [100] * 10
