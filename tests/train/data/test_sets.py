import hashlib
import os
import pickle

import pytest
import torch
from PIL import Image
from scipy.io import savemat
from sklearn.datasets import load_digits
from torchvision import datasets

from convgate.errors import CorruptFile, InputError
from convgate.pictures.decoding import to_tensor
from convgate.train.data import DataSpec
from convgate.train.data.sets import open_set, read_official

np = pytest.importorskip("numpy")


class Payload:
    """A pickle that would leave a trace if it were ever opened."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (self.path,)


def write_pickle(path, value):
    path.write_bytes(pickle.dumps(value))
    return [path.name, hashlib.md5(path.read_bytes()).hexdigest()]


def write_cifar100(root, monkeypatch):
    folder = root / "cifar-100-python"
    folder.mkdir()
    rng = np.random.default_rng(0)
    parts = {}
    for name, count in (("train", 6), ("test", 4)):
        data = rng.integers(0, 256, (count, 3072), dtype=np.uint8)
        parts[name] = {"data": data, "fine_labels": [i % 2 for i in range(count)]}
    train, test = (write_pickle(folder / name, part) for name, part in parts.items())
    _, checksum = write_pickle(folder / "meta", {"fine_label_names": ["apple", "bear"]})
    monkeypatch.setattr(datasets.CIFAR100, "train_list", [train])
    monkeypatch.setattr(datasets.CIFAR100, "test_list", [test])
    meta = {"filename": "meta", "key": "fine_label_names", "md5": checksum}
    monkeypatch.setattr(datasets.CIFAR100, "meta", meta)
    return parts


@pytest.mark.parametrize("inside", [False, True])
def test_cifar100_with_its_published_checksums(tmp_path, monkeypatch, inside):
    parts = write_cifar100(tmp_path, monkeypatch)
    path = tmp_path / "cifar-100-python" if inside else tmp_path
    classes, train, val = read_official("cifar100", path)
    assert classes == ("apple", "bear") and (len(train), len(val)) == (6, 4)
    assert train.labels.tolist() == [0, 1, 0, 1, 0, 1]
    # a row is 1,024 red, then 1,024 green, then 1,024 blue values, each row by row
    expected = torch.from_numpy(parts["train"]["data"][2]).view(3, 32, 32)
    assert torch.equal(to_tensor(train.load(2)), expected)


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("cifar100", ["cifar-100-python/train", "cifar-100-python/test", "cifar-100-python/meta"]),
        ("cifar10", ["cifar-10-batches-py/batches.meta", "cifar-10-batches-py/test_batch"]),
    ],
)
def test_an_altered_pickle_is_refused_unopened(tmp_path, name, files):
    trace = tmp_path / "trace"
    for file in files:
        (tmp_path / file).parent.mkdir(exist_ok=True)
        write_pickle(tmp_path / file, Payload(str(trace)))
    with pytest.raises(CorruptFile, match=f"not the published files of {name}"):
        read_official(name, tmp_path)
    assert not trace.exists()


def write_picture(path, level):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.new("RGB", (6, 4), (level,) * 3).save(path, "JPEG")


def level_of(pictures, index):
    return round(to_tensor(pictures.load(index)).float().mean().item() / 10)


def test_fgvc_aircraft(tmp_path):
    data = tmp_path / "fgvc-aircraft-2013b" / "data"
    for number in range(1, 6):
        write_picture(data / "images" / f"{number:07d}.jpg", 10 * number)
    (data / "variants.txt").write_text("707-320\nA380\n")
    (data / "images_variant_trainval.txt").write_text(
        "0000001 A380\n0000002 707-320\n0000003 A380\n"
    )
    (data / "images_variant_test.txt").write_text("0000004 707-320\n0000005 A380\n")
    classes, train, val = read_official("fgvc_aircraft", tmp_path)
    assert classes == ("707-320", "A380")
    assert train.labels.tolist() == [1, 0, 1] and val.labels.tolist() == [0, 1]
    assert [level_of(val, i) for i in range(2)] == [4, 5]


def test_flowers_train_on_both_published_training_splits(tmp_path, monkeypatch):
    folder = tmp_path / "flowers-102"
    for number in range(1, 7):
        write_picture(folder / "jpg" / f"image_{number:05d}.jpg", 10 * number)
    savemat(folder / "imagelabels.mat", {"labels": np.array([[1, 2, 3, 102, 5, 6]])})
    savemat(folder / "setid.mat", {"trnid": [[1, 3]], "valid": [[2, 4]], "tstid": [[6, 5]]})
    sums = dict(datasets.Flowers102._file_dict)
    for key, file in (("label", "imagelabels.mat"), ("setid", "setid.mat")):
        sums[key] = (file, hashlib.md5((folder / file).read_bytes()).hexdigest())
    monkeypatch.setattr(datasets.Flowers102, "_file_dict", sums)
    classes, train, val = read_official("flowers102", tmp_path)
    assert len(classes) == 102
    assert train.labels.tolist() == [0, 2, 1, 101]
    assert [level_of(train, i) for i in range(4)] == [1, 3, 2, 4]
    assert [level_of(val, i) for i in range(2)] == [6, 5]


def annotations(*rows):
    kinds = [("fname", object), ("class", np.uint8)]
    return {"annotations": np.array([list(rows)], dtype=kinds)}


def write_cars(root, *, label=2):
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    for split, count in (("train", 3), ("test", 2)):
        for number in range(1, count + 1):
            write_picture(folder / f"cars_{split}" / f"{number:05d}.jpg", 10 * number)
    train = annotations(("00001.jpg", 1), ("00002.jpg", label), ("00003.jpg", 1))
    test = annotations(("00001.jpg", 2), ("00002.jpg", 1))
    savemat(folder / "devkit" / "cars_train_annos.mat", train)
    savemat(folder / "cars_test_annos_withlabels.mat", test)
    names = np.array([["Acura", "BMW"]], dtype=object)
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names})


def test_stanford_cars(tmp_path):
    write_cars(tmp_path)
    classes, train, val = read_official("stanford_cars", tmp_path)
    assert classes == ("Acura", "BMW")
    assert train.labels.tolist() == [0, 1, 0] and val.labels.tolist() == [1, 0]
    assert level_of(train, 2) == 3


@pytest.mark.parametrize("label", [0, 3])
def test_a_label_without_a_class_is_refused(tmp_path, label):
    write_cars(tmp_path, label=label)
    with pytest.raises(CorruptFile, match="not the published files of stanford_cars"):
        read_official("stanford_cars", tmp_path)


@pytest.mark.parametrize(
    ("name", "folder"),
    [
        ("cifar10", "cifar-10-batches-py"),
        ("cifar100", "cifar-100-python"),
        ("flowers102", "flowers-102"),
        ("stanford_cars", "stanford_cars"),
        ("fgvc_aircraft", "fgvc-aircraft-2013b"),
    ],
)
def test_an_empty_official_folder_is_named(tmp_path, name, folder):
    (tmp_path / folder).mkdir()
    with pytest.raises(CorruptFile, match=rf"{folder}: not the published files of {name}"):
        read_official(name, tmp_path)


def test_other_layouts_are_left_to_others(tmp_path):
    assert read_official("cifar100", tmp_path) is None
    assert read_official("folder", tmp_path) is None


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
