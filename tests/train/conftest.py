import pytest
import torch

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


@pytest.fixture(autouse=True)
def one_thread(monkeypatch):
    """These networks are too small to share; threads that wait for a busy core cost minutes."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    monkeypatch.setenv("OMP_NUM_THREADS", "1")
    yield
    torch.set_num_threads(before)
