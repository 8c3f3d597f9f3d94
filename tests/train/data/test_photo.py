import random

import pytest
import torch
from PIL import Image

from convgate.pictures.decoding import from_tensor, to_tensor
from convgate.pictures.order import generator
from convgate.train.data import AugmentSpec
from convgate.train.data.photo import RandAugment, _draw_window, resized_crop


def noise(channels=3, size=16):
    rng = torch.Generator().manual_seed(0)
    return torch.randint(256, (channels, size, size), generator=rng).to(torch.uint8)


def test_windows_have_the_area_and_ratio_they_state():
    rng, width, height = generator(0), 300, 200
    for _ in range(500):
        left, top, right, bottom = _draw_window(width, height, rng)
        assert 0 <= left < right <= width and 0 <= top < bottom <= height
        w, h = right - left, bottom - top
        assert 0.075 < w * h / (width * height) <= 1
        assert 0.73 < w / h < 1.37


def test_a_strip_falls_back_to_its_middle():
    assert _draw_window(1000, 9, generator(0)) == (494, 0, 506, 9)
    assert _draw_window(9, 1000, generator(0)) == (0, 494, 9, 506)


def test_a_single_pixel_can_be_cropped():
    assert resized_crop(Image.new("RGB", (1, 1), (1, 2, 3)), 4, generator(0)).size == (4, 4)


def test_the_window_is_what_is_scaled():
    image = from_tensor(noise())
    left, top, right, bottom = _draw_window(16, 16, generator(3))
    expected = image.crop((left, top, right, bottom)).resize((8, 8), Image.Resampling.BICUBIC)
    assert torch.equal(to_tensor(resized_crop(image, 8, generator(3))), to_tensor(expected))


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
