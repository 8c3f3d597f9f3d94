import math

import pytest

from convgate.errors import InputError
from convgate.train.data import DATASETS, AugmentSpec, DataSpec


def test_the_default_augmentation_changes_nothing():
    spec = AugmentSpec()
    assert (spec.crop, spec.flip, spec.mixes) == ("none", False, False)


@pytest.mark.parametrize("name", DATASETS)
def test_every_named_set_is_accepted(name):
    assert DataSpec(name=name, image_px=8).name == name


def test_a_misspelt_set_names_the_nearest():
    with pytest.raises(InputError, match=r"unknown name 'cifar11'; did you mean 'cifar10'\?"):
        DataSpec(name="cifar11", image_px=32)


def test_all_problems_are_reported_together():
    with pytest.raises(InputError) as caught:
        DataSpec(
            name="digits", image_px=0, train_count=-1, val_count=-2, workers=-2, storage="disk"
        )
    for part in (
        "[data]",
        "image_px is 0",
        "train_count is -1",
        "val_count is -2",
        "workers is -2",
        "'disk'",
    ):
        assert part in str(caught.value)


@pytest.mark.parametrize(
    ("key", "value"),
    [
        ("randaugment_magnitude", 11),
        ("randaugment_mstd", -1),
        ("mixup", -0.1),
        ("cutmix", math.nan),
        ("random_erasing", 1.5),
        ("label_smoothing", -0.1),
        ("crop_padding", -1),
        ("crop", "centre"),
    ],
)
def test_values_outside_their_range_are_refused(key, value):
    with pytest.raises(InputError, match=key):
        AugmentSpec(**{key: value})


@pytest.mark.parametrize("key", ["mixup", "cutmix"])
def test_mixes(key):
    assert AugmentSpec(**{key: 0.5}).mixes
