"""What is typed of Ray is read without Ray."""

import pytest

from convgate.cluster import RayOptions
from convgate.errors import InputError


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"gpus_per_cell": 1.5}, "--gpus-per-cell 1.5: a part of one GPU, or a whole number"),
        ({"cpus_per_cell": 0}, "--cpus-per-cell 0 must be above 0"),
    ],
)
def test_wrong_options(options, sentence):
    with pytest.raises(InputError, match=sentence):
        RayOptions(**options)
