import shutil

import pytest
import torch
from PIL import Image
from torch.testing import assert_close

from convgate.errors import CorruptFile, InputError
from convgate.train.data import AugmentSpec, Batches, DataSpec, ImageData, open_data

PLAIN = AugmentSpec()
DIGITS = DataSpec(name="digits", image_px=8)


def folder(path, **options):
    return DataSpec(**{"name": "folder", "image_px": 8, "path": str(path), "workers": 0} | options)


def validation(data):
    x, y = zip(*data.val, strict=True)
    return torch.cat(x), torch.cat(y)


def test_digits():
    data = open_data(DIGITS, PLAIN, batch_size=64, seed=0)
    assert isinstance(data, ImageData) and isinstance(data.train, Batches)
    assert (data.train_images, data.val_images, data.in_chans) == (1437, 360, 1)
    assert (len(data.train), len(data.val)) == (1437 // 64, 6)
    x, y = validation(data)
    assert x.shape == (360, 1, 8, 8) and y.bincount().tolist() == [36] * 10


def test_training_pictures_are_normalised_by_their_own_statistics():
    data = open_data(DIGITS, PLAIN, batch_size=1437, seed=0)
    ((x, _),) = data.train
    assert_close(x.mean(), torch.tensor(0.0), atol=1e-4, rtol=0)
    assert_close(x.std(correction=0), torch.tensor(1.0), atol=1e-4, rtol=0)


def test_digits_at_another_size():
    data = open_data(DataSpec(name="digits", image_px=16), PLAIN, batch_size=8, seed=0)
    assert next(iter(data.train))[0].shape == (8, 1, 16, 16)


@pytest.mark.parametrize("crop", ["none", "pad", "resized"])
@pytest.mark.parametrize("magnitude", [0, 9])
@pytest.mark.parametrize("storage", ["memory", "stream"])
@pytest.mark.parametrize("size", [(8, 8), (13, 11)])
def test_every_way_gives_batches_that_repeat(make_tree, crop, magnitude, storage, size):
    augment = AugmentSpec(crop=crop, flip=True, randaugment_magnitude=magnitude, mixup=0.2)
    spec = folder(make_tree(size=size), storage=storage)

    def epoch(rank=0, world_size=1):
        size = 4 // world_size
        data = open_data(spec, augment, batch_size=size, seed=3, rank=rank, world_size=world_size)
        data.train.set_epoch(1)
        return torch.cat([torch.stack([x]) for x, _ in data.train], dim=1)[0]

    whole = epoch()
    assert whole.shape == (12, 3, 8, 8) and whole.isfinite().all()
    assert torch.equal(epoch(), whole)
    halves = [epoch(rank, 2).view(3, 2, 3, 8, 8) for rank in range(2)]
    assert torch.equal(torch.cat(halves, dim=1).flatten(0, 1), whole)


def test_memory_and_stream_show_the_same_validation(make_tree):
    spec = folder(make_tree(size=(20, 12)), storage="stream")
    streamed = open_data(spec, PLAIN, batch_size=4, seed=0)
    held = open_data(folder(spec.path, storage="memory"), PLAIN, batch_size=4, seed=0)

    def pixels(data):
        x, _ = validation(data)
        mean, std = (torch.tensor(v).view(1, 3, 1, 1) for v in (data.mean, data.std))
        return x * std + mean

    assert_close(pixels(streamed), pixels(held), rtol=1e-5, atol=1e-5)
    assert torch.equal(validation(streamed)[1], validation(held)[1])
    assert streamed.mean == (0.485, 0.456, 0.406) and streamed.std == (0.229, 0.224, 0.225)


def test_a_set_too_large_for_memory_is_streamed(make_tree, monkeypatch):
    tree = make_tree()
    small = open_data(folder(tree), PLAIN, batch_size=4, seed=0)
    monkeypatch.setattr("convgate.train.data.storage._MEMORY_BYTES", 18 * 3 * 8 * 8 - 1)
    large = open_data(folder(tree), PLAIN, batch_size=4, seed=0)
    assert small.mean != large.mean == (0.485, 0.456, 0.406)


def test_pictures_kept_whole_count_with_their_own_size(make_tree, monkeypatch):
    tree = make_tree(size=(40, 20))
    augment = AugmentSpec(crop="resized")
    limit = 3 * (12 * 40 * 20 + 6 * 8 * 8)
    for bytes_allowed, held in ((limit, True), (limit - 1, False)):
        monkeypatch.setattr("convgate.train.data.storage._MEMORY_BYTES", bytes_allowed)
        data = open_data(folder(tree), augment, batch_size=4, seed=0)
        assert (data.mean != (0.485, 0.456, 0.406)) is held


def test_the_zip_gives_the_batches_of_the_folder(make_tree, make_zip):
    tree = make_tree()
    augment = AugmentSpec(crop="pad", flip=True)
    first = open_data(folder(tree), augment, batch_size=4, seed=0)
    second = open_data(folder(make_zip(tree)), augment, batch_size=4, seed=0)
    for (x, y), (u, v) in zip(first.train, second.train, strict=True):
        assert torch.equal(x, u) and torch.equal(y, v)


@pytest.mark.parametrize("zipped", [False, True])
def test_worker_processes_read_the_same(make_tree, make_zip, zipped):
    tree = make_tree()
    path = make_zip(tree) if zipped else tree
    first, second = (
        open_data(folder(path, storage="stream", workers=n), PLAIN, batch_size=4, seed=0)
        for n in (0, 2)
    )
    for (x, y), (u, v) in zip(first.train, second.train, strict=True):
        assert torch.equal(x, u) and torch.equal(y, v)


def test_a_subset_is_balanced_and_the_same_for_every_seed():
    spec = DataSpec(name="digits", image_px=8, train_count=100)
    sums = set()
    for seed in (0, 1):
        data = open_data(spec, PLAIN, batch_size=100, seed=seed)
        assert (data.train_images, data.val_images) == (100, 360)
        ((x, y),) = data.train
        assert y.bincount().tolist() == [10] * 10
        sums.add(round(x.double().abs().sum().item(), 2))
    assert len(sums) == 1


@pytest.mark.parametrize("storage", ["memory", "stream"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_part_of_the_validation_split(make_tree, make_zip, storage, zipped):
    """Three of six pictures, one of each class, in the order of their names."""
    tree = make_tree()
    path = make_zip(tree) if zipped else tree
    taken = [
        validation(
            open_data(folder(path, storage=storage, val_count=3), PLAIN, batch_size=2, seed=seed)
        )
        for seed in (0, 1)
    ]
    assert taken[0][1].tolist() == [0, 1, 2]
    assert torch.equal(taken[0][0], taken[1][0])
    whole, _ = validation(open_data(folder(path, storage=storage), PLAIN, batch_size=2, seed=0))
    assert all(any(torch.equal(x, y) for y in whole) for x in taken[0][0])
    with pytest.raises(InputError, match="val_count is 7, but there are 6 validation pictures"):
        open_data(folder(path, val_count=7), PLAIN, batch_size=2, seed=0)


def test_a_subset_reads_only_what_it_needs(make_tree):
    tree = make_tree(train=5)
    damaged = 0
    for path in sorted((tree / "train").rglob("*.png")):
        content = path.read_bytes()
        path.write_bytes(b"damaged")
        try:
            open_data(folder(tree, train_count=3), PLAIN, batch_size=3, seed=0)
        except CorruptFile:
            damaged += 1
        path.write_bytes(content)
    assert damaged == 3


@pytest.mark.parametrize("count", [9, 1438])
def test_a_subset_of_an_impossible_size(count):
    spec = DataSpec(name="digits", image_px=8, train_count=count)
    with pytest.raises(InputError, match=rf"train_count is {count}, but must be between 10"):
        open_data(spec, PLAIN, batch_size=8, seed=0)


@pytest.mark.parametrize("storage", ["memory", "stream"])
@pytest.mark.parametrize("zipped", [False, True])
def test_a_damaged_picture(make_tree, make_zip, storage, zipped):
    tree = make_tree()
    broken = tree / "train" / "dog" / "002.png"
    broken.write_bytes(broken.read_bytes()[:60])
    path = make_zip(tree) if zipped else tree
    spec = folder(path, storage=storage)
    with pytest.raises(CorruptFile, match=r"train/dog/002.png: cannot be read as an image"):
        list(open_data(spec, PLAIN, batch_size=12, seed=0).train)
    spec = folder(path, storage=storage, skip_bad=True)
    data = open_data(spec, PLAIN, batch_size=11, seed=0)
    assert len(data.skipped) == 1 and data.skipped[0].endswith("train/dog/002.png")
    ((_, y),) = data.train
    assert data.train_images == 11 and y.bincount().tolist() == [4, 3, 4]


def test_a_damaged_validation_picture_is_left_out(make_tree):
    tree = make_tree()
    (tree / "val/cat/000.png").write_bytes(b"")
    data = open_data(folder(tree, skip_bad=True), PLAIN, batch_size=4, seed=0)
    assert data.val_images == 5 and validation(data)[1].tolist() == [0, 1, 1, 2, 2]


@pytest.mark.parametrize("storage", ["memory", "stream"])
@pytest.mark.parametrize(("split", "named"), [("train", "training"), ("val", "validation")])
@pytest.mark.parametrize("crop", ["none", "resized"])
def test_nothing_but_damaged_pictures(make_tree, storage, split, named, crop):
    tree = make_tree()
    for path in (tree / split).rglob("*.png"):
        path.write_bytes(b"damaged")
    spec = folder(tree, storage=storage, skip_bad=True)
    with pytest.raises(InputError, match=f"every {named} picture is damaged"):
        open_data(spec, AugmentSpec(crop=crop), batch_size=4, seed=0)


def test_pictures_of_all_kinds_in_one_set(make_tree):
    tree = make_tree()
    Image.new("L", (30, 20), 9).save(tree / "train/cat/grey.png")
    Image.new("CMYK", (9, 9)).save(tree / "train/cat/print.jpg")
    Image.new("RGBA", (8, 8)).save(tree / "train/cat/clear.webp")
    data = open_data(folder(tree), PLAIN, batch_size=15, seed=0)
    assert next(iter(data.train))[0].shape == (15, 3, 8, 8)


def test_validation_is_shared_without_duplicates(make_tree):
    spec = folder(make_tree(val=3))
    whole = validation(open_data(spec, PLAIN, batch_size=2, seed=0))[0]
    parts = [
        validation(open_data(spec, PLAIN, batch_size=2, seed=0, rank=rank, world_size=2))[0]
        for rank in range(2)
    ]
    assert [len(part) for part in parts] == [5, 4]
    assert torch.equal(parts[0], whole[0::2]) and torch.equal(parts[1], whole[1::2])


@pytest.mark.parametrize("storage", ["memory", "stream"])
def test_a_process_with_fewer_pictures_ends_with_an_empty_batch(make_tree, storage):
    spec = folder(make_tree(val=1), storage=storage)
    parts = [
        list(open_data(spec, PLAIN, batch_size=1, seed=0, rank=rank, world_size=2).val)
        for rank in range(2)
    ]
    assert [[tuple(x.shape) for x, _ in part] for part in parts] == [
        [(1, 3, 8, 8), (1, 3, 8, 8)],
        [(1, 3, 8, 8), (0, 3, 8, 8)],
    ]


def test_mixing_needs_an_even_batch():
    with pytest.raises(InputError, match="batch_size 7 must be even"):
        open_data(DIGITS, AugmentSpec(mixup=0.5), batch_size=7, seed=0)


def test_an_impossible_batch_size():
    with pytest.raises(InputError, match="batch_size is 0"):
        open_data(DIGITS, PLAIN, batch_size=0, seed=0)


def test_a_missing_split_is_one_sentence(make_tree):
    tree = make_tree()
    shutil.rmtree(tree / "val")
    with pytest.raises(InputError, match="no validation folder; expected train/CLASS"):
        open_data(folder(tree), PLAIN, batch_size=4, seed=0)


def test_held_out_pictures_are_of_the_training_split_and_no_others():
    """A fifth of each class of 100 training pictures; the validation split is not looked at."""
    fixed = {"mean": (0.5,), "std": (0.5,)}
    spec = DataSpec(name="digits", image_px=8, train_count=100, **fixed)
    whole = open_data(spec, PLAIN, batch_size=100, seed=0)
    held = DataSpec(name="digits", image_px=8, train_count=100, held_out=0.2, **fixed)
    parts = [open_data(held, PLAIN, batch_size=80, seed=seed) for seed in (0, 1)]
    assert [(d.train_images, d.val_images) for d in parts] == [(80, 20)] * 2
    (x, y), (same, _) = validation(parts[0]), validation(parts[1])
    assert torch.equal(x, same) and y.bincount().tolist() == [2] * 10
    every = {picture.numpy().tobytes() for picture in next(iter(whole.train))[0]}
    trained = {picture.numpy().tobytes() for picture in next(iter(parts[0].train))[0]}
    scored = {picture.numpy().tobytes() for picture in x}
    assert trained | scored == every and not trained & scored


def test_a_class_of_one_picture_cannot_be_parted(make_tree):
    with pytest.raises(InputError, match="class 0 has one training picture, and none can be held"):
        open_data(folder(make_tree(train=1), held_out=0.2), PLAIN, batch_size=2, seed=0)
