"""Sites chosen by several names at once."""

import pytest
import torchvision

from convgate.errors import InputError
from convgate.insertion import find_sites


@pytest.fixture(scope="module")
def net():
    return torchvision.models.resnet18()


def test_several_sites_at_once(net):
    found = [(site.name, site.path) for site in find_sites(net, "stem_end, stage_end")]
    ends = [("stage_end", f"layer{i}.1") for i in (1, 2, 3, 4)]
    assert found == [("stem_end", "maxpool"), *ends]


def test_stages_choose_among_all_of_them(net):
    found = find_sites(net, "stem_end,stage_end", stages=(0, 2))
    assert [(site.name, site.path) for site in found] == [
        ("stem_end", "maxpool"),
        ("stage_end", "layer2.1"),
    ]


def test_a_place_named_twice_or_unknown_is_refused(net):
    with pytest.raises(InputError, match=r"names the output of layer1\.1 twice"):
        find_sites(net, "stage_end,layer1.?")
    with pytest.raises(InputError, match="did you mean 'stage_end'"):
        find_sites(net, "stem_end,stage_and")
