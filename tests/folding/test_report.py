"""What is said of a fold."""

import pytest
import torch
from torch import nn

from convgate.errors import InputError
from convgate.folding import Fold, FoldReport, Kept, fold, folded
from convgate.gates import SRM

REPORT = FoldReport(
    "ResNet",
    (
        Fold("a", "one thing", 2**21, 2**20),
        Fold("b", "one thing", 2**20, 0),
        Fold("c", "two", 0, 0),
    ),
    (Kept("d", "it is so"), Kept("e", "it is so"), Kept("f", "it is other")),
    1.5e-7,
)


def test_printed_in_80_columns():
    lines = str(REPORT).splitlines()
    assert max(map(len, lines)) <= 80
    assert lines[0] == "ResNet: output differs by 1.5e-07 of its norm"
    assert lines[1].split() == ["fold", "places", "MiB", "before", "after"]
    assert lines[3].split() == ["one", "thing", "2", "3.00", "1.00"]
    assert lines[5].split() == ["total", "3", "3.00", "1.00"]
    assert lines[6:] == ["kept d and 1 more:", "    it is so", "kept f:", "    it is other"]


def test_bytes_of_a_norm(check):
    """A norm reads and writes 4 x 5 x 6 numbers of 8 bytes."""
    _, report = check(nn.Sequential(nn.Conv2d(2, 4, 1), nn.BatchNorm2d(4)), torch.randn(3, 2, 5, 6))
    assert (report.before, report.after) == (2 * 4 * 5 * 6 * 8, 0)


def test_as_plain_types(check):
    _, report = check(nn.Sequential(nn.Conv2d(2, 8, 1), SRM(8)), torch.randn(3, 2, 5, 6))
    assert report.to_dict()["kept"][0]["path"] == "1"


def test_asked_of_another_network():
    with pytest.raises(InputError, match="was not folded"):
        folded(nn.ReLU())
    assert folded(fold(nn.Conv2d(3, 3, 1))).model == "Conv2d"
