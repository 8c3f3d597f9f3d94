import pickle
import random

import pytest
import torch
from PIL import Image

from convgate.errors import CorruptFile
from convgate.pictures.decoding import from_tensor, square, to_tensor
from convgate.pictures.labelled import ArrayPictures, HeldPictures
from convgate.pictures.order import TrainOrder, ValOrder, seed_of, seeded
from convgate.train.data import AugmentSpec
from convgate.train.data.stream import PreparePicture, RandAugment, StreamSource


def noise(channels=3, size=16):
    rng = torch.Generator().manual_seed(0)
    return torch.randint(256, (channels, size, size), generator=rng).to(torch.uint8)


def draw_window(width, height, seed):
    """Return left, top, right and bottom of the window that training takes."""
    prepare = PreparePicture(8, AugmentSpec(crop="resized"))
    with seeded(seed):
        drawn = prepare._window.make_params([Image.new("RGB", (width, height))])
    top, left, h, w = (drawn[key] for key in ("top", "left", "height", "width"))
    return left, top, left + w, top + h


def test_windows_have_the_area_and_ratio_they_state():
    width, height = 300, 200
    for seed in range(500):
        left, top, right, bottom = draw_window(width, height, seed)
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        w, h = right - left, bottom - top
        assert 0.075 < w * h / (width * height) <= 1
        assert 0.73 < w / h < 1.37


def test_a_strip_falls_back_to_its_middle():
    assert draw_window(1000, 9, 0) == (494, 0, 506, 9)
    assert draw_window(9, 1000, 0) == (0, 494, 9, 506)


def resized(images, index=0):
    prepare = PreparePicture(4, AugmentSpec(crop="resized"))
    return prepare(ArrayPictures(images, torch.arange(len(images))), index, epoch=0)


def test_a_single_pixel_can_be_cropped():
    pixel = torch.tensor([1, 2, 3], dtype=torch.uint8)[:, None, None]
    assert torch.equal(resized(pixel[None]), pixel.expand(3, 4, 4))


def test_the_window_is_what_is_scaled():
    image = from_tensor(noise())
    with seeded(seed_of(0, 0, "window", 0)):
        drawn = PreparePicture(4, AugmentSpec(crop="resized"))._window.make_params([image])
    left, top = drawn["left"], drawn["top"]
    window = image.crop((left, top, left + drawn["width"], top + drawn["height"]))
    expected = to_tensor(window.resize((4, 4), Image.Resampling.BICUBIC))
    assert torch.equal(resized(noise()[None]), expected)


@pytest.mark.parametrize("channels", [1, 3])
def test_randaugment_is_a_function_of_its_seed(channels):
    pixels = noise(channels)
    augment = RandAugment(AugmentSpec(randaugment_magnitude=9))
    results = [augment(pixels, seed) for seed in range(20)]
    assert all(torch.equal(augment(pixels, seed), results[seed]) for seed in range(20))
    assert len({bytes(result.flatten().tolist()) for result in results}) > 5
    assert all(result.shape == pixels.shape for result in results)
    assert all(result.dtype == torch.uint8 for result in results)


@pytest.mark.parametrize("magnitude", [0.5, 10])
def test_every_operation_runs_at_the_ends_of_the_scale(magnitude):
    augment = RandAugment(AugmentSpec(randaugment_magnitude=magnitude, randaugment_mstd=2))
    for seed in range(300):
        augment(noise(size=8), seed)


def test_randaugment_leaves_the_global_generator_alone():
    random.seed(0)
    state = random.getstate()
    RandAugment(AugmentSpec(randaugment_magnitude=9))(noise(), 0)
    assert random.getstate() == state


def test_the_change_grows_with_the_magnitude():
    smooth = torch.arange(16).mul(10).repeat(3, 16, 1).to(torch.uint8)

    def change(magnitude):
        augment = RandAugment(AugmentSpec(randaugment_magnitude=magnitude, randaugment_mstd=0))
        results = torch.stack([augment(smooth, seed) for seed in range(300)])
        return (results.float() - smooth).abs().mean()

    assert change(1) < change(5) < change(10)


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
