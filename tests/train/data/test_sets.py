import pytest
import torch
from sklearn.datasets import load_digits

from convgate.errors import InputError
from convgate.pictures.decoding import to_tensor
from convgate.train.data import DataSpec
from convgate.train.data.sets import open_set


def test_digits_are_scikit_learns_split_once():
    digits = open_set(DataSpec(name="digits", image_px=8))
    assert digits.classes == tuple("0123456789") and digits.in_chans == 1
    assert (len(digits.train), len(digits.val)) == (1437, 360)
    assert digits.val.labels.bincount().tolist() == [36] * 10
    bunch = load_digits()
    expected = [
        (label, *(int(v * 255 / 16 + 0.5) for v in image.ravel()))
        for label, image in zip(bunch.target.tolist(), bunch.images, strict=True)
    ]
    found = [
        (label, *image.flatten().tolist())
        for split in (digits.train, digits.val)
        for label, image in zip(split.labels.tolist(), split.images, strict=True)
    ]
    assert sorted(found) == sorted(expected)


def test_the_split_of_digits_is_fixed():
    first, second = (open_set(DataSpec(name="digits", image_px=8)) for _ in range(2))
    assert torch.equal(first.val.images, second.val.images)


@pytest.mark.parametrize("name", ["folder", "cifar10", "imagenet"])
def test_any_named_set_reads_an_image_folder(make_tree, name):
    found = open_set(DataSpec(name=name, image_px=8, path=str(make_tree())))
    assert found.classes == ("cat", "dog", "fox") and found.in_chans == 3
    assert found.train.labels.tolist() == [0] * 4 + [1] * 4 + [2] * 4
    reds, greens = (to_tensor(found.train.load(i)).float().mean((1, 2)) for i in (0, 4))
    assert reds.argmax() == 0 and greens.argmax() == 1


def test_labels_of_validation_are_those_of_training(make_tree):
    tree = make_tree()
    for path in (tree / "val" / "cat").iterdir():
        path.unlink()
    (tree / "val" / "cat").rmdir()
    found = open_set(DataSpec(name="folder", image_px=8, path=str(tree)))
    assert found.val.labels.tolist() == [1, 1, 2, 2]


def test_a_zip_is_its_folder(make_tree, make_zip):
    tree = make_tree()
    first = open_set(DataSpec(name="folder", image_px=8, path=str(tree)))
    second = open_set(DataSpec(name="folder", image_px=8, path=str(make_zip(tree))))
    assert first.classes == second.classes
    for a, b in ((first.train, second.train), (first.val, second.val)):
        assert torch.equal(a.labels, b.labels)
        for i in range(len(a)):
            assert torch.equal(to_tensor(a.load(i)), to_tensor(b.load(i)))


def test_the_home_folder_is_expanded(make_tree, monkeypatch):
    tree = make_tree()
    monkeypatch.setenv("HOME", str(tree.parent))
    assert len(open_set(DataSpec(name="folder", image_px=8, path="~/set")).train) == 12


@pytest.mark.parametrize("name", ["folder", "cifar10", "imagenet"])
def test_a_set_without_a_path(name):
    with pytest.raises(InputError, match=f"^{name}: no path given; set path in .* --data PATH$"):
        open_set(DataSpec(name=name, image_px=8))


def test_digits_take_no_path():
    with pytest.raises(InputError, match="digits come with scikit-learn; remove path 'here'"):
        open_set(DataSpec(name="digits", image_px=8, path="here"))


def test_a_folder_of_something_else_names_both_layouts(tmp_path):
    with pytest.raises(
        InputError, match=r"expected train/CLASS.* official folder cifar-100-python"
    ):
        open_set(DataSpec(name="cifar100", image_px=32, path=str(tmp_path)))
