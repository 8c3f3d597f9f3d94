import math

import pytest
import torch
from torch.testing import assert_close

from convgate.pictures.order import generator
from convgate.train.data import AugmentSpec
from convgate.train.data.augment import (
    Mix,
    draw_erasing,
    draw_mix,
    erase_,
    mirror,
    mix,
    pad_crop,
    partners,
    smooth_one_hot,
)


def naive_window(image, top, left, padding):
    """The window written as a loop over pixels."""
    channels, height, width = image.shape
    out = torch.zeros_like(image)
    for c in range(channels):
        for i in range(height):
            for j in range(width):
                y, x = i + top - padding, j + left - padding
                if 0 <= y < height and 0 <= x < width:
                    out[c, i, j] = image[c, y, x]
    return out


@pytest.mark.parametrize("size", [(5, 5), (4, 7), (1, 1)])
@pytest.mark.parametrize("padding", [0, 1, 4])
def test_pad_crop_equals_the_loop(size, padding):
    rng = torch.Generator().manual_seed(0)
    x = torch.randint(256, (6, 3, *size), generator=rng).to(torch.uint8)
    offsets = torch.randint(2 * padding + 1, (6, 2), generator=rng)
    expected = [naive_window(i, *o.tolist(), padding) for i, o in zip(x, offsets, strict=True)]
    assert torch.equal(pad_crop(x, offsets, padding), torch.stack(expected))


def test_the_middle_window_is_the_picture():
    x = torch.randint(256, (2, 3, 6, 6)).to(torch.uint8)
    assert torch.equal(pad_crop(x, torch.full((2, 2), 3), 3), x)


def test_mirror_turns_only_the_chosen():
    x = torch.arange(2 * 3 * 2 * 4).view(2, 3, 2, 4)
    turned = mirror(x, torch.tensor([True, False]))
    assert turned[0, 0, 0].tolist() == [3, 2, 1, 0]
    assert torch.equal(turned[1], x[1])


def test_erasing_stays_inside_with_the_area_and_ratio_it_states():
    size = (24, 40)
    boxes = draw_erasing(4000, size, 1.0, generator(0))
    top, left, height, width = boxes.T
    assert (height > 0).float().mean() > 0.99  # ten draws nearly always hold one that fits
    assert (top >= 0).all() and (top + height <= size[0]).all()
    assert (left >= 0).all() and (left + width <= size[1]).all()
    drawn = height > 4  # a side of a few pixels rounds too coarsely for the ratio
    share = (height * width)[drawn] / (size[0] * size[1])
    assert share.min() > 0.015 and share.max() < 0.36
    ratio = (height / width)[drawn].log().abs()
    assert ratio.max() < math.log(1 / 0.3) + 0.2


def test_erasing_happens_with_its_probability():
    boxes = draw_erasing(4000, (32, 32), 0.25, generator(1))
    erased = (boxes[:, 2] > 0).float().mean().item()
    assert erased == pytest.approx(0.25, abs=4 * (0.25 * 0.75 / 4000) ** 0.5)


def test_erase_fills_the_rectangle_and_nothing_else():
    x = torch.zeros(3, 3, 20, 20)
    boxes = torch.tensor([[2, 3, 10, 12], [0, 0, 0, 0], [0, 0, 19, 19]])
    erase_(x, boxes, torch.tensor([5, 6, 7]))
    assert (x[0, :, 2:12, 3:15] != 0).all()
    assert (x[0] != 0).sum() == 3 * 10 * 12 and (x[1] != 0).sum() == 0
    noise = x[2, :, :19, :19]
    assert noise.mean().abs() < 0.15 and (noise.std() - 1).abs() < 0.1


def test_noise_belongs_to_the_picture_and_not_to_its_row():
    boxes, seeds = torch.tensor([[0, 0, 4, 4], [1, 1, 3, 3]]), torch.tensor([8, 9])
    both = erase_(torch.zeros(2, 1, 6, 6), boxes, seeds)
    second = erase_(torch.zeros(1, 1, 6, 6), boxes[1:], seeds[1:])
    assert torch.equal(both[1:], second)


SIZE = (12, 20)


def draws(spec, count=400):
    return [draw_mix(spec, SIZE, seed) for seed in range(count)]


def test_nothing_is_drawn_unless_asked():
    assert draw_mix(AugmentSpec(label_smoothing=0.1), SIZE, 0) is None


def test_partners_are_neighbours():
    assert partners(4).tolist() == [1, 0, 3, 2]
    assert partners(5).tolist() == [1, 0, 3, 2, 4]
    assert partners(1).tolist() == [0]


def test_pairs_never_cross_an_even_slice():
    whole = partners(8)
    assert torch.equal(whole[4:] - 4, partners(4))


def test_mixup_is_the_weighted_mean_with_the_partner():
    x = torch.randn(4, 3, 2, 2, dtype=torch.float64)
    before = x.clone()
    mixed = mix(x, Mix(0.3))
    for i, j in ((0, 1), (1, 0), (2, 3), (3, 2)):
        assert_close(mixed[i], 0.3 * before[i] + 0.7 * before[j], rtol=1e-12, atol=1e-12)


def test_cutmix_pastes_the_box_of_the_partner():
    x = torch.arange(2.0).view(2, 1, 1, 1).expand(2, 3, *SIZE).clone()
    mixed = mix(x, Mix(0.8, (2, 6, 5, 17)))
    assert (mixed[0] == 1).sum() == 3 * 4 * 12 and (mixed[0, :, 2:6, 5:17] == 1).all()
    assert (mixed[1] == 0).sum() == 3 * 4 * 12


def test_the_ratio_of_cutmix_is_the_area_that_stays():
    for blend in draws(AugmentSpec(cutmix=1.0)):
        top, bottom, left, right = blend.box
        assert 0 <= top <= bottom <= SIZE[0] and 0 <= left <= right <= SIZE[1]
        x = torch.tensor([0.0, 1.0]).view(2, 1, 1, 1).expand(2, 1, *SIZE).clone()
        assert mix(x, blend)[1].mean().item() == pytest.approx(blend.ratio, abs=1e-6)


def test_the_ratio_of_mixup_follows_its_beta():
    alpha = 0.8
    ratios = torch.tensor([blend.ratio for blend in draws(AugmentSpec(mixup=alpha), 4000)])
    variance = 1 / (4 * (2 * alpha + 1))  # of Beta(alpha, alpha)
    assert ratios.mean().item() == pytest.approx(0.5, abs=4 * (variance / 4000) ** 0.5)
    assert ratios.var().item() == pytest.approx(variance, rel=0.1)


def test_both_take_turns_evenly():
    cut = sum(blend.box is not None for blend in draws(AugmentSpec(mixup=0.8, cutmix=1.0), 1000))
    assert cut == pytest.approx(500, abs=4 * 250**0.5)
    assert all(blend.box is None for blend in draws(AugmentSpec(mixup=0.8), 20))


def test_label_smoothing_by_hand():
    target = smooth_one_hot(torch.tensor([2, 0]), classes=4, smoothing=0.2)
    expected = torch.tensor([[0.05, 0.05, 0.85, 0.05], [0.85, 0.05, 0.05, 0.05]])
    assert_close(target, expected)


def test_no_smoothing_is_one_hot():
    labels = torch.tensor([1, 0, 2])
    assert torch.equal(smooth_one_hot(labels, 3, 0.0), torch.eye(3)[labels])
