import contextlib
import io
import json
import shutil
import zipfile

import pytest
import torch

from convgate.errors import CorruptFile, InputError
from convgate.pictures.archives import open_tree
from convgate.train.annotated import TargetKinds
from convgate.train.annotated.coco import read_coco
from convgate.train.metrics import AveragePrecision


def test_ids_with_gaps_become_labels_in_their_order(coco):
    classes, train, val = read_coco(open_tree(coco.write()))
    assert classes == ("tile", "zebra")  # 7 before 90
    assert [item.file for item in train.items] == [f"train2017/{n}.png" for n in "abc"]
    assert [len(item.annotations) for item in train.items] == [1, 2, 0]
    assert val.items[0].annotations[0].box == (8.0, 8.0, 24.0, 28.0)
    assert val.items[0].annotations[0].label == 1
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
    data = opened("coco", coco.write(), kinds=TargetKinds(masks=True), batch_size=3)
    ((_, targets),) = data.train
    masks = next(t["masks"] for t in targets if len(t["boxes"]) == 3)
    expected = torch.zeros(height, width, dtype=torch.uint8)
    expected[top:bottom, left:right] = 1
    for mask in masks:
        assert torch.equal(mask, expected)


def shapes(coder, width, height):
    """The forms of a segmentation that COCO's files hold, with whether it is a crowd."""
    ring = [2.5, 3.25, 14.75, 3.0, 15.1, 12.9, 3.0, 12.0]
    hole = [4.0, 4.0, 9.0, 4.0, 9.0, 8.0]  # parts that overlap count once
    far = [20.0, 15.5, 29.9, 15.5, 29.9, 24.4, 25.0, 27.0, 20.0, 24.0]
    runs = [37, 11, height * width - 48]
    packed = coder.frPyObjects({"size": [height, width], "counts": runs}, height, width)
    yield [ring], 0
    yield [ring, far, hole], 0
    yield [[0.0, 0.0, 0.4, 0.0, 0.4, 0.4]], 0  # less than a pixel
    yield {"size": [height, width], "counts": runs}, 1
    yield {"size": [height, width], "counts": [0, 5, height * width - 5]}, 1  # from the first on
    yield {"size": [height, width], "counts": packed["counts"].decode()}, 0


@pytest.mark.filterwarnings("ignore:__array__ implementation")  # of pycocotools itself
def test_all_is_read_as_pycocotools_reads_it(coco, opened):
    """The same file through pycocotools: masks, boxes, areas, crowds and labels."""
    from pycocotools import mask as coder
    from pycocotools.coco import COCO

    sheet = coco.sheets["val"]
    for image in sheet["images"]:
        for segmentation, crowd in shapes(coder, image["width"], image["height"]):
            sheet["annotations"].append({
                "id": 1_000_000_000_001 + len(sheet["annotations"]), "image_id": image["id"],
                "category_id": 90 if crowd else 7, "iscrowd": crowd, "area": 12.5 + crowd,
                "bbox": [2.5, 3.25, 12.6, 9.65], "segmentation": segmentation,
            })  # fmt: skip
    sheet["info"], sheet["licenses"] = {"year": 2017}, [{"id": 1}]
    for category in sheet["categories"]:
        category["supercategory"] = "thing"
    root = coco.write()
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(root / "annotations" / "instances_val2017.json"))
    order = sorted(theirs.getCatIds())
    data = opened("coco", root, kinds=TargetKinds(masks=True), batch_size=1)
    for image, (_, (target,)) in zip(sheet["images"], data.val, strict=True):
        known = theirs.loadAnns(theirs.getAnnIds(imgIds=image["id"]))
        assert len(known) == len(target["masks"]) == 7
        for i, found in enumerate(known):
            mask = torch.from_numpy(theirs.annToMask(found))
            assert torch.equal(target["masks"][i], mask)
            left, top, width, height = found["bbox"]
            box = [left, top, left + width, top + height]
            assert target["boxes"][i].tolist() == pytest.approx(box)
            assert float(target["area"][i]) == found["area"]
            assert bool(target["crowd"][i]) == bool(found["iscrowd"])
            assert int(target["labels"][i]) == 1 + order.index(found["category_id"])


def test_the_scores_are_those_of_pycocotools_on_the_same_files(coco, opened):
    """Detections written in COCO's result format, and the same given to ours."""
    from pycocotools.coco import COCO
    from pycocotools.cocoeval import COCOeval

    sheet = coco.sheets["val"]
    sheet["annotations"][1]["iscrowd"] = 1  # with a polygon, as other tools write crowds
    extra = {**sheet["annotations"][0], "id": 9, "category_id": 90, "bbox": [1, 2, 9, 9]}
    sheet["annotations"].append(extra)
    root = coco.write()
    torch.manual_seed(0)
    data = opened("coco", root, batch_size=1)
    precision, results = AveragePrecision(masks=False, voc=False), []
    for image, (pixels, targets) in zip(sheet["images"], data.val, strict=True):
        true = targets[0]["boxes"]
        near = (true.repeat(6, 1) + torch.randn(6 * len(true), 4)).clamp(min=0)
        near[:, 2:] = torch.maximum(near[:, 2:], near[:, :2] + 1)
        scores = torch.rand(len(near)).sort(descending=True).values
        labels = torch.randint(1, 3, (len(near),))
        found = {"boxes": near, "scores": scores, "labels": labels}
        precision.update(pixels, [found], targets)
        for (left, top, right, bottom), score, label in zip(
            near.tolist(), scores.tolist(), labels.tolist(), strict=True
        ):
            results.append({
                "image_id": image["id"], "category_id": {1: 7, 2: 90}[label], "score": score,
                "bbox": [left, top, right - left, bottom - top],
            })  # fmt: skip
    with contextlib.redirect_stdout(io.StringIO()):
        theirs = COCO(str(root / "annotations" / "instances_val2017.json"))
        evaluation = COCOeval(theirs, theirs.loadRes(results), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    ours = precision.compute()
    assert ours["box_ap"] == pytest.approx(100 * evaluation.stats[0], abs=1e-3)
    assert ours["box_ap50"] == pytest.approx(100 * evaluation.stats[1], abs=1e-3)
    assert 0 < ours["box_ap"] < 100


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
