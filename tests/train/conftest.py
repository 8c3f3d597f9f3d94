import pytest

from convgate.train.recipe import load_recipe, override

TINY = (
    "data.train_count=200",
    "schedule.epochs=4",
    "schedule.warmup_epochs=1",
    "run.batch_size=40",
)


@pytest.fixture
def tiny():
    """A run of four epochs of five updates, with changes given as override() takes them."""

    def make(*settings):
        return override(load_recipe("digits/demo"), *TINY, *settings)

    return make
