import pytest
import timm

import convgate.models  # noqa: F401  registers the names in timm


@pytest.fixture(params=["selnext_atto", "resnet8"])
def name(request):
    return request.param


@pytest.fixture
def build(name):
    """Build the network under test through timm, small where it has a depth to choose."""
    preset = {"depths": (1, 1, 2, 1)} if name == "selnext_atto" else {}

    def create(**options):
        return timm.create_model(name, **{**preset, **options})

    return create
