"""Gates in every family of timm and torchvision: docs/coverage.md says what comes out, and holds.

A tenth of the families, quick ones, runs here; all of them in the slow test.
"""

from pathlib import Path

import pytest
from benchmarks.coverage import cells, examine_member

PAGE = Path(__file__).parents[2] / "docs" / "coverage.md"


def rows() -> list[list[str]]:
    """Return the cells of the page's table."""
    lines = [line for line in PAGE.read_text().splitlines() if line.startswith("| ")]
    return [[cell.strip() for cell in line.strip("|").split(" | ")] for line in lines[2:]]


def check(row: list[str]) -> None:
    """Compare a family with its row: blocks, sites, bit-equality, gradients, keys, folds."""
    found = [cell.replace("|", "\\|") for cell in cells(examine_member(row[0], row[1]))]
    exported = 9
    assert found[:exported] == row[:exported]
    assert found[exported + 1] == row[exported + 1]


QUICK = (
    *("test_byobnet", "poolformerv2_s12", "test_convnext", "dla46x_c", "test_nfnet", "test_vit"),
    *("edgenext_xx_small", "fastvit_t8", "ghostnet_050", "test_efficientnet", "starnet_s050"),
    *("torchvision/squeezenet1_1", "torchvision/fcn_resnet50"),
)


@pytest.mark.parametrize("row", [row for row in rows() if row[1] in QUICK], ids=lambda row: row[1])
def test_a_tenth_of_the_families(row):
    check(row)


@pytest.mark.slow
@pytest.mark.parametrize("row", rows(), ids=lambda row: row[1])
def test_every_family(row):
    check(row)


def test_nothing_fails_and_nothing_is_half_recognised():
    verdicts = [row[10] for row in rows()]
    assert len(verdicts) > 100
    assert "HALF" not in verdicts
    assert all(
        verdict == "served" or "no site" in verdict or "blocks of" in verdict
        for verdict in verdicts
    )
