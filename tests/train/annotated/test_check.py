import pytest
import torch
from PIL import Image

from convgate.errors import InputError
from convgate.train.annotated import TargetKinds


def refusal(opened, coco, **options):
    with pytest.raises(InputError) as caught:
        opened("coco", coco.write(), **options)
    return str(caught.value)


def test_all_faults_are_named_at_once_or_counted(coco, opened):
    train = coco.sheets["train"]
    first, second, third = train["annotations"]
    first["bbox"] = [5, 5, 0, 20]
    second["bbox"] = [100, 3, 10, 17]
    train["annotations"] += [
        {**third, "id": 50, "image_id": 99},
        {**third, "id": 51, "category_id": 8},
        {"id": 52, "image_id": 1},
    ]
    (coco.root / "val2017" / "e.png").unlink()
    (coco.root / "train2017" / "c.png").write_bytes(b"\x89PNG cut short")
    said = refusal(opened, coco)
    for part in (
        "7 faults",
        "train2017/a.png: object 1 has a box of no area (5, 5, 5, 25)",
        "train2017/b.png: object 1 has a box (100, 3, 110, 20) outside the picture of 30 x 40",
        "annotation 50 has no picture 99",
        "annotation 51 is damaged: its file lists no category 8",
        "annotation 52 is damaged: it has no 'bbox'",
        "e.png: no such picture, but 1 annotations",
        "c.png: cannot be read as an image",
        "--skip-bad",
    ):
        assert part in said, part
    data = opened("coco", coco.write(), skip_bad=True)
    assert len(data.skipped) == 7
    assert (data.train_images, data.val_images) == (2, 1)
    boxes = [t["boxes"].tolist() for _, targets in data.train for t in targets]
    assert sorted(map(len, boxes)) == [0, 1]


@pytest.mark.parametrize("box", [[5, 5, 40, 5], [-3, 5, 10, 5], [5, float("nan"), 5, 5]])
def test_a_box_beyond_the_border_is_a_fault_but_a_rounding_is_cut_off(coco, opened, box):
    annotation = coco.sheets["val"]["annotations"][0]
    annotation["bbox"] = box
    assert "d.png: object 1 has a box" in refusal(opened, coco)
    annotation["bbox"] = [-0.6, 5, 33, 10]
    ((_, targets),) = opened("coco", coco.write()).val
    assert targets[0]["boxes"].tolist() == [[0, 5, 32, 15]]


def test_an_annotation_of_another_size(coco, opened):
    coco.sheets["val"]["images"][0]["width"] = 31
    assert "d.png: is 32 x 32, but its annotation or mask says 31 x 32" in refusal(opened, coco)


@pytest.mark.parametrize(
    ("segmentation", "said"),
    [
        ({"size": [32, 31], "counts": [992]}, "has a mask of size [32, 31]"),
        ({"size": [32, 32], "counts": [1000, -1, 25]}, "has a damaged mask"),
        ({"size": [32, 32], "counts": "0" * 9}, "has a damaged mask"),
        ({"size": [32, 32], "counts": "\x00"}, "has a damaged mask"),
        ({"size": [32, 32], "counts": ["a", 1023]}, "has a damaged mask"),
        ([[1, 1, 5, 5]], "fewer than three points"),
        ([[1, 1, 5, 5, float("nan"), 5]], "points far outside the picture or that are no numbers"),
        ([[1, 1, 5, 5, 1e300, 5]], "points far outside the picture or that are no numbers"),
        ([[1, 1, 5, 5, -40, 5]], "points far outside the picture or that are no numbers"),
        ([], "has no mask"),
    ],
)
def test_a_mask_that_does_not_fit_matters_where_masks_are_wanted(coco, opened, segmentation, said):
    coco.sheets["val"]["annotations"][0]["segmentation"] = segmentation
    assert said in refusal(opened, coco, kinds=TargetKinds(masks=True))
    assert opened("coco", coco.write()).val_images == 2


@pytest.mark.parametrize("number", [[1], {"id": 1}, "1", None])
@pytest.mark.parametrize("key", ["image_id", "category_id"])
def test_an_annotation_whose_picture_or_class_is_no_number(coco, opened, key, number):
    coco.sheets["train"]["annotations"][0][key] = number
    sentence = f"annotation 1 is damaged: its {key} {number!r} is no number"
    assert sentence in refusal(opened, coco)
    assert sentence in " ".join(opened("coco", coco.write(), skip_bad=True).skipped)


def test_a_long_value_is_cut_short(coco, opened):
    first, second = coco.sheets["val"]["annotations"]
    first["image_id"], second["id"], second["bbox"] = list(range(999)), list(range(999)), None
    coco.sheets["train"]["images"][0]["file_name"] = list(range(999))
    said = refusal(opened, coco)
    assert "its image_id [0, 1, 2, 3, 4, 5, ...] is no number" in said
    assert "[0, 1, 2, 3, 4, 5, ...]: no such picture, but 1 annotations" in said
    assert len(said) < 800


def test_crowds_are_not_trained_on_and_marked_for_the_scores(coco, opened):
    for sheet in coco.sheets.values():
        sheet["annotations"][0]["iscrowd"] = 1
    data = opened("coco", coco.write(), batch_size=3)
    ((_, targets),) = data.train
    assert sorted(len(t["boxes"]) for t in targets) == [0, 0, 2]
    ((_, targets),) = data.val
    assert [t["crowd"].tolist() for t in targets] == [[True], [False]]


def test_one_pixel_and_an_outsize_picture(coco, opened):
    """8,000 x 6,000 is read at 64 pixels a side, with its boxes; one pixel stays one pixel."""
    Image.new("L", (8000, 6000), 255).save(coco.root / "val2017" / "d.png", compress_level=1)
    Image.new("RGB", (1, 1)).save(coco.root / "val2017" / "e.png")
    sheet = coco.sheets["val"]
    sheet["images"][0] |= {"width": 8000, "height": 6000}
    sheet["images"][1] |= {"width": 1, "height": 1}
    sheet["annotations"][0] |= {
        "bbox": [1000, 2000, 3000, 4000],
        "segmentation": [[1000, 2000, 4000, 2000, 4000, 6000, 1000, 6000]],
    }
    sheet["annotations"][1] |= {"bbox": [0, 0, 1, 1], "segmentation": [[0, 0, 1, 0, 1, 1, 0, 1]]}
    data = opened("coco", coco.write(), kinds=TargetKinds(masks=True))
    (((large, small), targets),) = data.val
    assert large.shape == (3, 48, 64) and small.shape == (3, 1, 1)
    assert targets[0]["boxes"].tolist() == [[8, 16, 32, 48]]
    assert float(targets[0]["shrunk"]) == 125
    assert int(targets[0]["masks"].sum()) == 24 * 32
    assert torch.equal(targets[1]["boxes"], torch.tensor([[0.0, 0, 1, 1]]))


def test_a_split_without_anything_to_find(coco, opened):
    for annotation in coco.sheets["val"]["annotations"]:
        annotation["bbox"] = [0, 0, 0, 0]
    with pytest.raises(InputError, match="no validation picture has an object"):
        opened("coco", coco.write(), skip_bad=True)
    for folder in ("train2017", "val2017"):
        for file in (coco.root / folder).iterdir():
            file.write_bytes(b"x")
    with pytest.raises(InputError, match="no training picture without a fault is left"):
        opened("coco", coco.write(), skip_bad=True)


def test_without_a_path(opened):
    from convgate.train.annotated import BatchPlan, ObjectAugmentSpec, open_annotated
    from convgate.train.data import DataSpec

    spec = DataSpec(name="coco", image_px=8)
    with pytest.raises(InputError, match="coco: no path given"):
        open_annotated(spec, ObjectAugmentSpec(), TargetKinds(), BatchPlan(1, 0))
