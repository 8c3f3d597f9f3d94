"""What tests of several verbs use."""

import pytest

from convgate.measure import timing


@pytest.fixture
def settled(monkeypatch):
    """Every warm-up ends within a second; on a busy machine it can last half a minute."""
    monkeypatch.setattr(timing, "is_stable", lambda *_: True)
