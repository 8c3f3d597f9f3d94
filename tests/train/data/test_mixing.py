import pytest
import torch
from torch.testing import assert_close

from convgate.train.data import AugmentSpec
from convgate.train.data.mixing import Mix, draw_mix, mix, partners, smooth_one_hot

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
