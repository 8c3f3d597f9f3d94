"""A gate for each stage in one call, and options that fit every site."""

import pytest
import torch

from convgate.errors import InputError
from convgate.insertion import insert, inserted


def test_each_stage_has_its_own_gate(backbone):
    net, x = backbone("resnet").eval(), torch.randn(2, 3, 64, 64)
    before = net(x)
    report = insert(net, {2: "se", 3: "eca", 4: "se"}, reduction=4, kernel_size=5)
    assert [(row.stage, row.gate) for row in report.rows] == [(2, "se"), (3, "eca"), (4, "se")]
    assert torch.equal(net(x), before)
    options = {record.gate: record.options for _, _, record in inserted(net)}
    assert options == {"se": {"reduction": 4}, "eca": {"kernel_size": 5}}


@pytest.mark.parametrize(
    ("gate", "options", "sentence"),
    [
        ({}, {}, "a table names the stages"),
        ({2: "se"}, {"stages": 2}, "leave stages out"),
        ({2: "se", 9: "eca"}, {}, "stages: 9 is asked for"),
        ({2: "se", 3: "ecaa"}, {}, "did you mean 'eca'"),
        ({2: "se", 3: "eca"}, {"groups": 4}, "groups: none of the gates se, eca has"),
    ],
)
def test_tables_of_stages_that_cannot_be(gate, options, sentence, backbone):
    net = backbone("resnet")
    with pytest.raises(InputError, match=sentence):
        insert(net, gate, **options)
    assert not list(inserted(net))


def test_a_number_that_fits_every_site(backbone):
    """Widths 32, 48, 192 and 96, and at most 20 groups: 16, 16, 16 and 16; at most 36, others."""
    for most, expected in ((20, [16, 16, 16, 16]), (36, [32, 24, 32, 32])):
        net = backbone("resnet")
        insert(net, "ela_b", num_groups=f"<={most}", start="paper")
        assert [gate.norm.num_groups for _, gate, _ in inserted(net)] == expected
    with pytest.raises(InputError, match="num_groups='<=few': after <= stands a whole number"):
        insert(backbone("resnet"), "ela_b", num_groups="<=few")
