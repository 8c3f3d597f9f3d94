import math

import pytest
import torch

from convgate.pictures.order import generator
from convgate.train.data.augment import draw_erasing, erase_, mirror, pad_crop


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
