import pickle

import pytest
import torch

from convgate.errors import CorruptFile
from convgate.pictures.decoding import from_tensor, square, to_tensor
from convgate.pictures.labelled import ArrayPictures, HeldPictures
from convgate.pictures.order import TrainOrder, ValOrder
from convgate.train.data import AugmentSpec
from convgate.train.data.stream import PreparePicture, StreamSource

IMAGES = torch.randint(256, (12, 3, 10, 14), generator=torch.Generator().manual_seed(0)).byte()
LABELS = torch.arange(12) % 5
STRONG = AugmentSpec(crop="resized", flip=True, randaugment_magnitude=9)


class OneBad(ArrayPictures):
    def load(self, index):
        if index == 7:
            raise CorruptFile("7.jpg: cannot be read")
        return super().load(index)


def run(prepare, epoch=0, workers=0, pictures=None, rank=0, world_size=1):
    pictures = pictures or ArrayPictures(IMAGES, LABELS)
    order = TrainOrder(12, 4 // world_size, seed=0, rank=rank, world_size=world_size)
    source = StreamSource(pictures, prepare, workers)
    return list(source.load(order.shares(epoch), epoch))


def assert_same(first, second):
    for (x, y), (u, v) in zip(first, second, strict=True):
        assert torch.equal(x, u) and torch.equal(y, v)


def test_validation_is_the_middle_of_each_picture():
    source = StreamSource(ArrayPictures(IMAGES, LABELS), PreparePicture(8), 0)
    batches = list(source.load(ValOrder(12, 5).shares(0), 0))
    expected = torch.stack([to_tensor(square(from_tensor(image), 8)) for image in IMAGES])
    assert torch.equal(torch.cat([x for x, _ in batches]), expected)
    assert torch.equal(torch.cat([y for _, y in batches]), LABELS)


@pytest.mark.parametrize("augment", [STRONG, AugmentSpec(crop="pad", flip=True)])
def test_a_batch_is_a_function_of_seed_and_epoch(augment):
    first = run(PreparePicture(8, augment, seed=1), epoch=2)
    assert_same(first, run(PreparePicture(8, augment, seed=1), epoch=2))
    assert not torch.equal(first[0][0], run(PreparePicture(8, augment, seed=2), epoch=2)[0][0])
    other = run(PreparePicture(8, augment, seed=1), epoch=3)
    assert not torch.equal(first[0][0], other[0][0])


def test_workers_change_nothing():
    assert_same(run(PreparePicture(8, STRONG)), run(PreparePicture(8, STRONG), workers=2))


def test_the_global_generator_is_left_alone():
    state = torch.random.get_rng_state()
    run(PreparePicture(8, STRONG))
    assert torch.equal(torch.random.get_rng_state(), state)


def test_slices_of_two_processes_make_the_batch_of_one():
    prepare = PreparePicture(8, STRONG)
    parts = [run(prepare, rank=rank, world_size=2) for rank in range(2)]
    joined = [
        (torch.cat([x for x, _ in shares]), torch.cat([y for _, y in shares]))
        for shares in zip(*parts, strict=True)
    ]
    assert_same(joined, run(prepare))


def test_pictures_kept_whole_give_what_is_read_again():
    held = HeldPictures([from_tensor(image) for image in IMAGES], LABELS)
    assert_same(run(PreparePicture(8, STRONG), pictures=held), run(PreparePicture(8, STRONG)))


@pytest.mark.parametrize("workers", [0, 1])
def test_a_damaged_picture_arrives_as_one_sentence(workers):
    with pytest.raises(CorruptFile, match=r"^7.jpg: cannot be read$"):
        run(PreparePicture(8), workers=workers, pictures=OneBad(IMAGES, LABELS))


def test_preparation_travels_to_another_process():
    prepare = pickle.loads(pickle.dumps(PreparePicture(8, STRONG, seed=3)))
    assert_same(run(prepare), run(PreparePicture(8, STRONG, seed=3)))
