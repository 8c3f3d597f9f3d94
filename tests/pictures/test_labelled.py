import torch

from convgate.pictures.decoding import from_tensor, to_tensor
from convgate.pictures.labelled import ArrayPictures, HeldPictures, balanced_subset

LABELS = torch.tensor([0, 1, 2]).repeat_interleave(torch.tensor([50, 20, 3]))


def test_a_subset_has_equal_classes():
    labels = torch.arange(1000) % 10
    chosen = balanced_subset(labels, 200)
    assert len(set(chosen)) == 200 and chosen == sorted(chosen)
    assert labels[chosen].bincount().tolist() == [20] * 10


def test_a_remainder_goes_to_the_first_classes():
    labels = torch.arange(1000) % 10
    assert labels[balanced_subset(labels, 53)].bincount().tolist() == [6] * 3 + [5] * 7


def test_a_small_class_gives_all_it_has():
    assert LABELS[balanced_subset(LABELS, 30)].bincount().tolist() == [14, 13, 3]


def test_a_larger_subset_holds_the_smaller():
    assert set(balanced_subset(LABELS, 9)) < set(balanced_subset(LABELS, 30))


def test_a_subset_is_drawn_and_not_cut_off_the_front():
    assert balanced_subset(torch.zeros(100, dtype=torch.long), 10) != list(range(10))


def test_selecting():
    images = torch.randint(256, (5, 3, 2, 2)).to(torch.uint8)
    for pictures in (
        ArrayPictures(images, torch.arange(5)),
        HeldPictures([from_tensor(image) for image in images], torch.arange(5)),
    ):
        chosen = pictures.select([3, 1])
        assert len(chosen) == 2 and chosen.labels.tolist() == [3, 1]
        assert torch.equal(to_tensor(chosen.load(0)), images[3])
