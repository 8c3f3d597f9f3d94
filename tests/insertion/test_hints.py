"""The way out of a refusal serves every site of a network, not the first alone."""

import pytest
import torch

from convgate.errors import InputError
from convgate.insertion import insert, list_sites
from convgate.models import create_model


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        ("ela", r"24 is not divisible by num_groups=16; use num_groups=(8), which divides"),
        ("fca", r"24 is not divisible by frequencies=16; use frequencies=(8), which divides"),
        ("sa", r"16 is not divisible by twice groups=64; use groups=(4), which divides"),
    ],
)
def test_the_number_that_is_named_fits_every_site(gate, sentence):
    with torch.device("meta"):
        model = create_model("tf_efficientnet_lite0")
    before = set(model.state_dict())
    with pytest.raises(InputError, match=sentence) as caught:
        insert(model, gate)
    assert set(model.state_dict()) == before
    widths = {site.channels for site in list_sites(model) if site.name == "block_end"}
    assert f"chosen sites ({', '.join(map(str, sorted(widths)))})" in str(caught.value)
    option, value = str(caught.value).partition("; use ")[2].partition(",")[0].split("=")
    insert(model, gate, **{option: int(value)})  # what is named is taken
