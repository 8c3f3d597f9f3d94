import shutil

import pytest

from convgate.errors import CorruptFile, InputError
from convgate.pictures.archives import open_tree
from convgate.pictures.folders import find_pictures, read_listing


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


@pytest.fixture
def photos(make_tree):
    """train: 4 of cat, dog, fox each; val: 2 of each."""
    return make_tree()


def test_validation_pictures_are_preferred_in_a_folder_and_in_a_zip(photos, make_zip):
    names = [f"val/{c}/00{i}.png" for c in ("cat", "dog", "fox") for i in range(2)]
    assert list(find_pictures(photos).names) == names
    zipped = find_pictures(make_zip(photos))
    assert [name.split("/", 1)[1] for name in zipped.names] == names
    assert zipped.load(0).size == find_pictures(photos).load(0).size


def test_every_split_can_be_asked_for(photos):
    assert len(find_pictures(photos, split="train")) == 12
    assert len(find_pictures(photos, split="")) == 18
    shutil.rmtree(photos / "val")
    assert len(find_pictures(photos)) == 12  # better than nothing
    shutil.copytree(photos / "train", photos / "held_out")
    assert {name.split("/")[0] for name in find_pictures(photos).names} == {"held_out"}


def test_a_class_may_be_called_train(photos):
    for folder in ("train", "val"):
        shutil.copytree(photos / folder / "cat", photos / folder / "train")
    (photos / "train").rename(photos / "learn")
    (photos / "val").rename(photos / "judge")
    assert len(find_pictures(photos)) == len(find_pictures(photos, split="train")) == 24


def test_flat_or_nested_at_any_depth(photos, tmp_path):
    shutil.copytree(photos / "train" / "cat", tmp_path / "flat" / "deep" / "er")
    shutil.copy(photos / "train/dog/000.png", tmp_path / "flat" / "loose.PNG")
    (tmp_path / "flat" / "notes.txt").touch()
    found = find_pictures(tmp_path / "flat")
    assert list(found.names) == [*(f"deep/er/00{i}.png" for i in range(4)), "loose.PNG"]


def test_a_count_goes_through_the_names_at_even_steps(photos):
    names = find_pictures(photos, count=3).names
    assert list(names) == ["val/cat/000.png", "val/dog/000.png", "val/fox/000.png"]
    assert len(find_pictures(photos, count=100)) == 6
    with pytest.raises(InputError, match="images=-1 leaves no picture"):
        find_pictures(photos, count=-1)


def test_one_class_of_them(photos):
    found = find_pictures(photos, class_name="dog")
    assert list(found.names) == ["val/dog/000.png", "val/dog/001.png"]
    with pytest.raises(InputError, match="unknown class 'dgo'; did you mean 'dog'"):
        find_pictures(photos, class_name="dgo")


def test_a_file_is_a_picture_whatever_its_name(photos, tmp_path):
    odd = tmp_path / "cat.photo"
    shutil.copy(photos / "val/cat/000.png", odd)
    found = find_pictures(odd)
    assert (len(found), found.name(0)) == (1, "cat.photo")
    assert found.load(0).size == find_pictures(photos).load(0).size


def test_damaged_pictures_are_left_out_if_asked(photos):
    bad = photos / "val/cat/000.png"
    bad.write_bytes(bad.read_bytes()[:40])
    assert len(find_pictures(photos)) == 6
    assert find_pictures(photos, skip_bad=True).name(0) == "val/cat/001.png"
    with pytest.raises(InputError, match=r"every picture is damaged, 000\.png first"):
        find_pictures(bad, skip_bad=True)


def test_what_holds_no_picture_is_said(tmp_path):
    with pytest.raises(InputError, match="holds no picture"):
        find_pictures(tmp_path)
    with pytest.raises(InputError, match="no such folder, zip archive or picture"):
        find_pictures(tmp_path / "no.jpg")
    (tmp_path / "torn.zip").write_bytes(b"PK\x03\x04 cut short")
    with pytest.raises(CorruptFile, match="neither a folder nor a whole zip archive"):
        find_pictures(tmp_path / "torn.zip")


@pytest.mark.parametrize("wrapped", [False, True])
def test_a_share_of_each_class_is_held_out_where_there_is_no_split(make_tree, make_zip, wrapped):
    """A fifth of eleven pictures is two; the two splits are all pictures, each once."""
    tree = make_tree(train=11) / "train"
    tree = open_tree(make_zip(tree) if wrapped else tree)
    train, val = read_listing(tree, val_share=0.2)
    assert [(name, len(files)) for name, files in val.items()] == [
        ("cat", 2),
        ("dog", 2),
        ("fox", 2),
    ]
    for name in train:
        both = sorted(train[name] + val[name])
        assert len(both) == 11 == len(set(both))
        assert train[name] == sorted(train[name])
    assert read_listing(tree, val_share=0.2) == (train, val)
    assert {val["cat"][0][-7:], val["cat"][1][-7:]} != {val["dog"][0][-7:], val["dog"][1][-7:]}


def test_a_share_is_held_out_of_train_alone_but_never_beside_val(make_tree):
    tree = make_tree(train=5)
    train, val = read_listing(open_tree(tree), val_share=0.5)
    assert [len(files) for files in (train["cat"], val["cat"])] == [5, 2]
    shutil.rmtree(tree / "val")
    train, val = read_listing(open_tree(tree), val_share=0.01)
    assert [len(files) for files in (train["cat"], val["cat"])] == [4, 1]
    assert all(name.startswith("train/cat/") for name in val["cat"])
    for picture in sorted((tree / "train" / "dog").iterdir())[1:]:
        picture.unlink()
    with pytest.raises(InputError, match="class 'dog' has one picture, and none can be held out"):
        read_listing(open_tree(tree), val_share=0.5)
