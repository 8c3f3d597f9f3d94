import json
import shutil
import zipfile

import pytest
import torch

from convgate.errors import CorruptFile, InputError
from convgate.train.data.sources import open_tree
from convgate.train.scenes import Wanted
from convgate.train.scenes.coco import read_coco


def test_ids_with_gaps_become_labels_in_their_order(coco):
    classes, train, val = read_coco(open_tree(coco.write()))
    assert classes == ("tile", "zebra")  # 7 before 90
    assert [scene.file for scene in train.items] == [f"train2017/{n}.png" for n in "abc"]
    assert [len(scene.things) for scene in train.items] == [1, 2, 0]
    assert val.items[0].things[0].box == (8.0, 8.0, 24.0, 28.0)
    assert val.items[0].things[0].label == 1
    assert train.faults == ()


def test_one_annotation_file_in_the_folder_of_each_split(coco, tmp_path):
    coco.write()
    top = tmp_path / "other"
    for split, name in (("train", "train"), ("val", "valid")):
        shutil.copytree(coco.root / f"{split}2017", top / name)
        sheet = json.dumps(coco.sheets[split])
        (top / name / "_annotations.coco.json").write_text(sheet)
    _, train, val = read_coco(open_tree(top))
    assert train.items[0].file == "train/a.png"
    assert val.items[0].file == "valid/d.png"


def test_a_zip_is_read_in_place(coco, tmp_path, opened):
    root = coco.write()
    path = tmp_path / "coco.zip"
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(root.rglob("*.*")):
            archive.write(file, file.relative_to(root.parent))
    before = {p.name for p in tmp_path.iterdir()}
    data = opened("coco", path)
    assert (data.train_images, data.val_images) == (3, 2)
    assert {p.name for p in tmp_path.iterdir()} == before


def test_masks_of_polygons_and_run_lengths_agree_with_the_box(coco, opened):
    """The same rectangle as a polygon, as plain run lengths, and compressed by pycocotools."""
    from pycocotools import mask as coder

    width, height = 40, 30
    left, top, right, bottom = 5, 5, 20, 25
    counts = [left * height + top]
    for _ in range(right - left - 1):
        counts += [bottom - top, height - (bottom - top)]
    counts += [bottom - top, (width - right) * height + height - bottom]
    plain = {"size": [height, width], "counts": counts}
    packed = coder.frPyObjects(plain, height, width)
    first = coco.sheets["train"]["annotations"][0]
    copies = [{**first, "id": 90 + i} for i in range(2)]
    copies[0]["segmentation"] = plain
    copies[1]["segmentation"] = {**packed, "counts": packed["counts"].decode()}
    coco.sheets["train"]["annotations"] += copies
    data = opened("coco", coco.write(), wanted=Wanted(masks=True), batch_size=3)
    ((_, targets),) = data.train
    masks = next(t["masks"] for t in targets if len(t["boxes"]) == 3)
    expected = torch.zeros(height, width, dtype=torch.uint8)
    expected[top:bottom, left:right] = 1
    for mask in masks:
        assert torch.equal(mask, expected)


def test_what_is_no_coco_is_named(coco, tmp_path):
    with pytest.raises(InputError, match="no annotations for train; expected a JSON file"):
        read_coco(open_tree(tmp_path))
    root = coco.write()
    sheet = root / "annotations" / "instances_val2017.json"
    sheet.write_text("[1, 2")
    with pytest.raises(CorruptFile, match=r"instances_val2017\.json: not annotations in COCO"):
        read_coco(open_tree(root))
    sheet.write_text(json.dumps({"images": [], "annotations": [], "categories": []}))
    with pytest.raises(CorruptFile, match="or of no picture"):
        read_coco(open_tree(root))
    coco.sheets["val"]["categories"].append({"id": 8, "name": "tile"})
    with pytest.raises(CorruptFile, match="two categories are called tile"):
        read_coco(open_tree(coco.write()))
    shutil.copy(root / "annotations/instances_train2017.json", root / "annotations/train_b.json")
    with pytest.raises(InputError, match="all look like train; keep one"):
        read_coco(open_tree(root))
