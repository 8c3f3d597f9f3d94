import pytest

from convgate.errors import InputError
from convgate.studies.grid import Cell, Variant, make_grid


def test_every_combination_once_seed_by_seed():
    cells = make_grid(["a", "b"], ["se", "none", "eca", "se"], ["block_end", "spatial"], 2)
    assert len(cells) == len(set(cells)) == 2 * 2 * (1 + 2 * 2)
    assert [cell.seed for cell in cells] == [0] * 10 + [1] * 10
    assert [c.variant for c in cells if c.variant.is_base and c.seed == 0] == [
        Variant("a"),
        Variant("b"),
    ]


def test_base_is_always_there():
    assert make_grid(["a"], ["se"], ["block_end"], 1)[0] == Cell(Variant("a"), 0)


@pytest.mark.parametrize(
    ("models", "gates", "sites", "seeds", "sentence"),
    [
        (["a"], ["selm"], ["x"], 1, "unknown gate 'selm'; did you mean 'seln'?"),
        (["a"], ["se"], ["x"], 0, "at least one seed"),
        (["a"], ["se"], [], 1, "names no site"),
        (["a"], [], ["x"], 1, "names no gate"),
        ([], ["se"], ["x"], 1, "names no backbone"),
    ],
)
def test_wrong_grids(models, gates, sites, seeds, sentence):
    with pytest.raises(InputError, match=sentence.replace("?", r"\?")):
        make_grid(models, gates, sites, seeds)


def test_folders_tell_cells_apart():
    sites = ["block_end", "layer[34].*.bn2", "layer_34_._.bn2", "a/b", "a_b", "a b", "..", "a"]
    cells = make_grid(["torchvision/resnet50", "torchvision_resnet50"], ["se", "eca"], sites, 2)
    folders = {cell.folder for cell in cells}
    assert len(folders) == len(cells)
    assert all(folder.count("/") == 1 and ".." not in folder.split("/") for folder in folders)


def test_cell_survives_json():
    cell = Cell(Variant("a", "se", "block_end"), 3)
    assert Cell.from_dict(cell.to_dict()) == cell
    assert str(cell) == "se block_end seed 3"
