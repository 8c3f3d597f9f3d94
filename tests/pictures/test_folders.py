import shutil

import pytest

from convgate.errors import InputError
from convgate.pictures.archives import open_tree
from convgate.pictures.folders import read_listing


def listing(path):
    return read_listing(open_tree(path))


@pytest.mark.parametrize("val_name", ["val", "validation", "valid", "test"])
def test_names_of_the_validation_split(make_tree, val_name):
    train, val = listing(make_tree(val_name=val_name))
    assert list(train) == list(val) == ["cat", "dog", "fox"]
    assert [len(files) for files in train.values()] == [4, 4, 4]
    assert val["dog"] == [f"{val_name}/dog/000.png", f"{val_name}/dog/001.png"]


def test_val_is_preferred_to_test(make_tree):
    tree = make_tree()
    shutil.copytree(tree / "train", tree / "test")
    assert listing(tree)[1]["cat"][0].startswith("val/")


def test_one_folder_around_the_splits_is_entered(make_tree, make_zip):
    tree = make_tree()
    inner = listing(tree)[0]["cat"]
    expected = [f"set/{name}" for name in inner]
    assert listing(tree.parent)[0]["cat"] == listing(make_zip(tree))[0]["cat"] == expected


def test_upper_case_extensions_and_other_files(make_tree):
    tree = make_tree()
    (tree / "train/cat/000.png").rename(tree / "train/cat/000.PNG")
    (tree / "train/cat/notes.txt").touch()
    assert len(listing(tree)[0]["cat"]) == 4


def test_pictures_below_a_folder_of_their_class(make_tree):
    tree = make_tree()
    (tree / "train/cat/images").mkdir()
    (tree / "train/cat/000.png").rename(tree / "train/cat/images/000.png")
    assert "train/cat/images/000.png" in listing(tree)[0]["cat"]


def test_an_empty_folder(tmp_path):
    with pytest.raises(InputError, match=r"no folder named train in it; expected train/CLASS"):
        listing(tmp_path)


def test_classes_without_splits(tmp_path):
    for name in ("cat", "dog"):
        (tmp_path / name).mkdir()
    with pytest.raises(InputError, match="no folder named train"):
        listing(tmp_path)


@pytest.mark.parametrize(
    ("removed", "missing"), [("val", "no validation folder"), ("train", "no training folder")]
)
def test_a_missing_split(make_tree, removed, missing):
    tree = make_tree()
    shutil.rmtree(tree / removed)
    with pytest.raises(InputError, match=f"{missing}; expected"):
        listing(tree)


def test_a_split_without_classes(make_tree):
    tree = make_tree()
    shutil.rmtree(tree / "train")
    (tree / "train").mkdir()
    with pytest.raises(InputError, match="train holds no class folder"):
        listing(tree)


@pytest.mark.parametrize("zipped", [False, True])
def test_a_class_without_pictures_is_named(make_tree, make_zip, zipped):
    tree = make_tree()
    (tree / "train" / "owl").mkdir()
    (tree / "train" / "owl" / "read.me").touch()
    with pytest.raises(InputError, match="train has no picture in class 'owl'"):
        listing(make_zip(tree) if zipped else tree)


def test_a_class_that_only_validation_has_is_named(make_tree):
    tree = make_tree()
    shutil.copytree(tree / "val" / "cat", tree / "val" / "owl")
    with pytest.raises(InputError, match="val has class 'owl', which train lacks"):
        listing(tree)


def test_a_class_that_validation_lacks_is_fine(make_tree):
    tree = make_tree()
    shutil.rmtree(tree / "val" / "cat")
    train, val = listing(tree)
    assert "cat" in train and "cat" not in val
