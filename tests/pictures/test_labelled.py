import pytest
import torch

from convgate.errors import CorruptFile
from convgate.pictures.decoding import from_tensor, to_tensor
from convgate.pictures.labelled import ArrayPictures, HeldPictures, balanced_subset, decode_all

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


IMAGES = torch.randint(256, (600, 3, 4, 4), generator=torch.Generator().manual_seed(0)).byte()
NUMBERS = torch.arange(600) % 7


class SomeBad(ArrayPictures):
    """Pictures of which two cannot be decoded."""

    def name(self, index):
        return f"{index}.jpg"

    def load(self, index):
        if index in (300, 599):
            raise CorruptFile(f"{self.name(index)}: cannot be read")
        return from_tensor(self.images[index])


@pytest.mark.parametrize("workers", [0, 1, 3])
def test_decoding_keeps_the_order(workers):
    made, good, bad = decode_all(
        ArrayPictures(IMAGES, NUMBERS), to_tensor, workers=workers, skip_bad=False
    )
    assert torch.equal(torch.stack(made), IMAGES) and good == list(range(600)) and bad == []


def test_damaged_pictures_are_left_out_and_named():
    made, good, bad = decode_all(SomeBad(IMAGES, NUMBERS), to_tensor, workers=2, skip_bad=True)
    assert bad == ["300.jpg", "599.jpg"]
    assert torch.equal(torch.stack(made), IMAGES[torch.tensor(good)]) and len(good) == 598


def test_the_first_damaged_picture_stops():
    with pytest.raises(CorruptFile, match=r"^300.jpg: cannot be read$"):
        decode_all(SomeBad(IMAGES, NUMBERS), to_tensor, workers=2, skip_bad=False)
