"""YOLOX's schedule: "YOLOX: Exceeding YOLO Series in 2021", Ge et al. 2021.

https://arxiv.org/abs/2107.08430
"""

import math

import torch
from timm.scheduler.scheduler import Scheduler


class WarmCosine(Scheduler):
    """A warm-up by the square, a cosine from its end on, and a rest at the least rate.

        t <= w:          r0 + (r - r0) (t / w)^2
        w < t < T - c:   m + (r - m) (1 + cos(pi (t - w) / (T - w - c))) / 2
        T - c <= t:      m

    Source: arXiv 2107.08430, section 2.1; as in Megvii-BaseDetection/YOLOX,
        yolox/utils/lr_scheduler.py, "yoloxwarmcos".

    Args:
        optimizer: Its groups' rates are r.
        updates: T.
        warmup: w, in updates.
        closing: c, in updates.
        start: r0.
        least: m.
    """

    def __init__(
        self,
        optimizer: torch.optim.Optimizer,
        *,
        updates: int,
        warmup: int,
        closing: int,
        start: float,
        least: float,
    ) -> None:
        super().__init__(optimizer, param_group_field="lr", t_in_epochs=False)
        self.warmup, self.falling = warmup, updates - warmup - closing
        self.start, self.least = start, least
        self.update_groups(self._get_lr(0))

    def _get_lr(self, t: int) -> list[float]:
        return [self._rate(t, most) for most in self.base_values]

    def _rate(self, t: int, most: float) -> float:
        if t < self.warmup:
            return self.start + (most - self.start) * (t / self.warmup) ** 2
        if t >= self.warmup + self.falling:
            return self.least
        angle = math.pi * (t - self.warmup) / self.falling
        return self.least + (most - self.least) * (1 + math.cos(angle)) / 2
