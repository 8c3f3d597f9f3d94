"""A machine without noise, whose clock moves only while a forward pass runs."""

import pytest
import torch
from torch import nn


class Machine:
    """A clock to give as ``timer``, and models that take the time they are told to."""

    def __init__(self):
        self.seconds = 0.0
        self.visits = []

    def now_s(self):
        return self.seconds

    def time_ms(self, run, passes):
        start = self.seconds
        for _ in range(passes):
            run()
        return 1000 * (self.seconds - start)

    def model(self, *times_ms, name="m"):
        """Return a model whose passes take the given times in turn, the last one for ever."""

        class Model(nn.Module):
            def forward(model, x):
                model.done += 1
                self.visits.append(name)
                self.seconds += times_ms[min(model.done, len(times_ms)) - 1] / 1000
                return x

            def __deepcopy__(model, memo):
                return model  # the clock is not to be copied

        model = Model()
        model.done = 0
        return model

    def changing(self, time_ms, name="m"):
        """Return a model whose pass takes ``time_ms(seconds on the clock)``."""

        def run(x):
            self.visits.append(name)
            self.seconds += time_ms(self.seconds) / 1000
            return x

        return run


@pytest.fixture
def machine():
    return Machine()


@pytest.fixture
def x():
    return torch.randn(1, 3, 4, 4)
