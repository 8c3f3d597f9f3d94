import math

import pytest
import torch
from torch import nn

from convgate.errors import InputError
from convgate.train.optim import create_optimizer, create_schedule
from convgate.train.sections import OptimizerSpec, ScheduleSpec


def rates(spec, updates_per_epoch=4, lr=1.0):
    """Return the rate at which each update is made."""
    optimizer = torch.optim.SGD([nn.Parameter(torch.zeros(1))], lr=lr)
    schedule = create_schedule(spec, optimizer, updates_per_epoch=updates_per_epoch)
    seen = []
    for update in range(spec.epochs * updates_per_epoch):
        seen.append(optimizer.param_groups[0]["lr"])
        schedule.step_update(update + 1)
    return seen


def test_cosine_falls_from_the_rate_to_the_minimum():
    spec = ScheduleSpec(name="cosine", epochs=5, min_lr=0.1)
    expected = [0.1 + 0.9 * (1 + math.cos(math.pi * t / 20)) / 2 for t in range(20)]
    assert rates(spec) == pytest.approx(expected)


def test_warm_up_is_linear_over_updates():
    spec = ScheduleSpec(name="cosine", epochs=5, warmup_epochs=2, warmup_lr=0.2)
    assert rates(spec)[:8] == pytest.approx([0.2 + 0.8 * t / 8 for t in range(8)])


def test_milestones_and_equal_steps():
    spec = ScheduleSpec(name="step", epochs=4, milestones=(1, 3), gamma=0.1)
    assert rates(spec) == pytest.approx([1.0] * 4 + [0.1] * 8 + [0.01] * 4)
    spec = ScheduleSpec(name="step", epochs=4, step_epochs=1.5, gamma=0.5)
    assert rates(spec) == pytest.approx([1.0] * 6 + [0.5] * 6 + [0.25] * 4)


@pytest.mark.parametrize("name", ["adamw", "sgd", "rmsprop"])
def test_norms_and_biases_keep_their_weight_unless_asked(name):
    model = nn.Sequential(nn.Conv2d(2, 4, 3), nn.BatchNorm2d(4))

    def decays(spec):
        groups = create_optimizer(spec, model).param_groups
        return {id(p): group["weight_decay"] for group in groups for p in group["params"]}

    spared = decays(OptimizerSpec(name=name, lr=1, weight_decay=0.5))
    assert [spared[id(p)] for p in model.parameters()] == [0.5, 0, 0, 0]
    every = decays(OptimizerSpec(name=name, lr=1, weight_decay=0.5, decay_all=True))
    assert [every[id(p)] for p in model.parameters()] == [0.5] * 4


def test_one_step_of_each_rule_by_hand():
    """Second step with a constant gradient of 1, from a weight of 1."""

    def after_two(**options):
        weight = nn.Parameter(torch.ones(1, 1, dtype=torch.float64))
        model = nn.Module()
        model.weight = weight
        optimizer = create_optimizer(OptimizerSpec(lr=0.1, **options), model)
        for _ in range(2):
            weight.grad = torch.ones_like(weight)
            optimizer.step()
        return weight.item()

    assert after_two(name="sgd", momentum=0.5) == pytest.approx(1 - 0.1 - 0.15)
    assert after_two(name="sgd", momentum=0.5, nesterov=True) == pytest.approx(1 - 0.15 - 0.175)
    assert after_two(name="adamw", weight_decay=0.2, eps=0) == pytest.approx(
        (1 * 0.98 - 0.1) * 0.98 - 0.1
    )
    first = 1 / math.sqrt(0.1)
    second = 0.5 * first + 1 / math.sqrt(0.19)
    assert after_two(name="rmsprop", momentum=0.5, eps=0) == pytest.approx(
        1 - 0.1 * (first + second)
    )


def test_poly_falls_as_a_power_of_what_is_left():
    spec = ScheduleSpec(name="poly", epochs=5, power=0.9)
    assert rates(spec) == pytest.approx([(1 - t / 20) ** 0.9 for t in range(20)])


def test_yolox_warms_up_by_the_square_and_closes_at_the_least_rate():
    spec = ScheduleSpec(
        name="yolox", epochs=6, warmup_epochs=1, closing_epochs=2, min_lr=0.05, warmup_lr=0.01
    )
    rising = [0.01 + 0.99 * (t / 4) ** 2 for t in range(4)]
    falling = [0.05 + 0.95 * (1 + math.cos(math.pi * t / 12)) / 2 for t in range(12)]
    assert rates(spec) == pytest.approx([*rising, *falling, *[0.05] * 8])
    spec = ScheduleSpec(name="yolox", epochs=2, closing_epochs=2, min_lr=0.05)
    assert rates(spec) == pytest.approx([0.05] * 8)


def test_what_yolox_alone_has_is_asked_for_with_its_schedule():
    with pytest.raises(InputError, match="closing_epochs is for the schedule yolox, not cosine"):
        ScheduleSpec(name="cosine", epochs=3, closing_epochs=1)
    with pytest.raises(InputError, match=r"closing_epochs=3 must lie in 0\.\.2, after the warm-up"):
        ScheduleSpec(name="yolox", epochs=3, warmup_epochs=1, closing_epochs=3)


def test_the_least_rate_and_a_scaled_group():
    """A group of a tenth of the rate keeps its tenth throughout."""
    groups = [{"params": [nn.Parameter(torch.zeros(1))], "lr_scale": s} for s in (1.0, 0.1)]
    optimizer = torch.optim.SGD(groups, lr=1.0)
    spec = ScheduleSpec(name="yolox", epochs=3, warmup_epochs=1, closing_epochs=1, min_lr=0.2)
    schedule = create_schedule(spec, optimizer, updates_per_epoch=2)
    for update in range(6):
        one, tenth = (group["lr"] for group in optimizer.param_groups)
        assert tenth == pytest.approx(one / 10)
        schedule.step_update(update + 1)


def test_a_warm_up_counted_in_updates():
    spec = ScheduleSpec(name="step", epochs=5, milestones=(4,), warmup_updates=5)
    assert rates(spec) == pytest.approx([t / 5 for t in range(5)] + [1.0] * 11 + [0.1] * 4)


def test_any_optimiser_of_timm_by_its_name_and_with_its_own_options():
    model = nn.Linear(2, 2)
    made = create_optimizer(OptimizerSpec(name="lamb", lr=0.1, options={"trust_clip": True}), model)
    assert type(made).__name__ == "Lamb" and made.defaults["trust_clip"] is True
    with pytest.raises(InputError, match="unknown optimizer 'adamww'; did you mean"):
        OptimizerSpec(name="adamww", lr=0.1)
    with pytest.raises(InputError, match=r"optimizer\.name='lamb': .*trust_clp"):
        create_optimizer(OptimizerSpec(name="lamb", lr=0.1, options={"trust_clp": 1}), model)
