import numpy as np
import pytest
import torch
from PIL import Image

from convgate.errors import InputError
from convgate.train.annotated import TargetKinds
from convgate.train.annotated.voc import VOC_CLASSES

XML = """<annotation><size><width>{w}</width><height>{h}</height><depth>3</depth></size>{objects}
</annotation>"""
OBJECT = """<object><name>{name}</name><difficult>{difficult}</difficult>
<bndbox><xmin>{0}</xmin><ymin>{1}</ymin><xmax>{2}</xmax><ymax>{3}</ymax></bndbox></object>"""


@pytest.fixture
def voc(tmp_path):
    """VOCdevkit/VOC2007 with a training and a test picture of 32 x 24."""
    top = tmp_path / "VOCdevkit" / "VOC2007"
    for folder in ("JPEGImages", "Annotations", "ImageSets/Main", "ImageSets/Segmentation"):
        (top / folder).mkdir(parents=True)
    (top / "SegmentationClass").mkdir()
    rng = np.random.default_rng(0)
    for stem, kind in (("000001", "Main"), ("000002", "Main")):
        pixels = rng.integers(0, 255, (24, 32, 3), dtype=np.uint8)
        Image.fromarray(pixels).save(top / f"JPEGImages/{stem}.jpg")
        mask = Image.fromarray(np.pad(np.full((8, 8), 15, np.uint8), ((8, 8), (12, 12))))
        mask.putpixel((0, 0), 255)
        mask.putpalette([0] * 768)
        mask.save(top / f"SegmentationClass/{stem}.png")
        objects = OBJECT.format(1, 1, 16, 24, name="person", difficult=0)
        objects += OBJECT.format(9, 5, 32, 24, name="dog", difficult=1)
        (top / f"Annotations/{stem}.xml").write_text(XML.format(w=32, h=24, objects=objects))
        split = "trainval" if stem == "000001" else "test"
        for folder in (kind, "Segmentation"):
            (top / f"ImageSets/{folder}/{split}.txt").write_text(f"{stem}\n")
    return top


def test_boxes_begin_at_zero_and_exclude_the_last_pixel(voc, opened):
    data = opened("voc2007", voc.parent.parent, batch_size=1)
    assert data.classes == VOC_CLASSES and len(VOC_CLASSES) == 20
    ((images, (target,)),) = data.val
    assert images[0].shape == (3, 24, 32)
    assert target["boxes"].tolist() == [[0, 0, 16, 24], [8, 4, 32, 24]]
    assert [VOC_CLASSES[label - 1] for label in target["labels"]] == ["person", "dog"]
    assert target["difficult"].tolist() == [False, True]
    ((_, (trained,)),) = data.train
    assert len(trained["boxes"]) == 2  # difficult objects are trained on


OFFICIAL = """<annotation>
	<filename>000002.jpg</filename>
	<folder>VOC2012</folder>
	<object>
		<name>person</name>
		<part><name>head</name>
			<bndbox><xmin>2</xmin><ymin>2</ymin><xmax>5</xmax><ymax>6</ymax></bndbox></part>
		<bndbox><xmax>31.70000076293945</xmax><xmin>4.5</xmin><ymax>24</ymax><ymin>1</ymin></bndbox>
		<occluded>0</occluded>
		<pose>Unspecified</pose>
		<truncated>1</truncated>
	</object>
	<object>
		<name>dog</name>
		<difficult>1</difficult>
		<bndbox><xmin>1</xmin><ymin>1</ymin><xmax>32</xmax><ymax>24</ymax></bndbox>
	</object>
	<segmented>0</segmented>
	<size><depth>3</depth><height>24</height><width>32</width></size>
	<source><annotation>PASCAL VOC2012</annotation></source>
</annotation>
"""


def test_fractions_parts_any_order_and_no_word_on_difficulty(voc, opened):
    """Parts of a body are no objects of their own; boxes are read to the fraction."""
    (voc / "Annotations/000002.xml").write_text(OFFICIAL)
    ((_, (target,)),) = opened("voc2007", voc, batch_size=1).val
    assert target["boxes"].tolist() == [
        pytest.approx([3.5, 0, 31.70000076293945, 24]),
        [0, 0, 32, 24],
    ]
    assert target["difficult"].tolist() == [False, True]
    assert [VOC_CLASSES[label - 1] for label in target["labels"]] == ["person", "dog"]


def test_the_augmented_set_trains_on_its_own_masks_and_scores_on_vocs(voc, opened):
    """Its masks are grey pictures of numbers, in a folder and a list of their own."""
    top = voc.rename(voc.with_name("VOC2012"))
    (top / "SegmentationClassAug").mkdir()
    grey = np.zeros((24, 32), np.uint8)
    grey[4:9, 3:10] = 7
    Image.fromarray(grey).save(top / "SegmentationClassAug/000001.png")
    lists = top / "ImageSets/Segmentation"
    (lists / "train_aug.txt").write_text("000001 \n\n")
    (lists / "val.txt").write_text("000002\n")
    data = opened("voc2012_aug", top.parent, kinds=TargetKinds(pixels=True), batch_size=1)
    ((_, trained),) = data.train
    assert torch.equal(trained[0], torch.from_numpy(grey).long())
    ((_, scored),) = data.val
    assert scored.unique().tolist() == [0, 15, 255]


def test_a_border_of_255_is_kept_when_a_mask_is_made_smaller(voc, opened):
    """Classes are never blended, in pictures of a palette least of all."""
    mask = np.zeros((24, 32), np.uint8)
    mask[6:18, 8:24] = 255
    mask[8:16, 10:22] = 15
    picture = Image.fromarray(mask, "P")
    picture.putpalette([value for number in range(256) for value in (number, 0, 255 - number)])
    picture.save(voc / "SegmentationClass/000002.png")
    data = opened("voc2007", voc, kinds=TargetKinds(pixels=True), batch_size=1, longest=16)
    ((x, classes),) = data.val
    assert x.shape[2:] == (12, 16)
    assert classes.unique().tolist() == [0, 15, 255]
    # every second pixel of the mask, as nearest-exact takes them
    assert torch.equal(classes[0], torch.from_numpy(mask[1::2, 1::2]).long())


def test_the_years_own_folder_will_do(voc, opened):
    assert opened("voc2007", voc, batch_size=1).val_images == 1


def test_classes_of_pixels(voc, opened):
    data = opened("voc2007", voc, kinds=TargetKinds(pixels=True), batch_size=1)
    ((x, classes),) = data.val
    assert x.shape == (1, 3, 24, 32) and classes.shape == (1, 24, 32)
    assert classes.unique().tolist() == [0, 15, 255]
    assert int((classes == 15).sum()) == 64


def test_an_unknown_class_a_missing_file_and_a_document_type(voc, opened):
    sheet = voc / "Annotations/000001.xml"
    good = sheet.read_text()
    sheet.write_text(good.replace("dog", "dragon"))
    with pytest.raises(InputError, match=r"000001\.xml is damaged \(unknown class 'dragon'\)"):
        opened("voc2007", voc)
    sheet.write_text('<!DOCTYPE a [<!ENTITY b "c">]>' + good)
    with pytest.raises(InputError, match="it defines a document type"):
        opened("voc2007", voc)
    sheet.unlink()
    with pytest.raises(InputError, match=r"Annotations/000001\.xml is missing"):
        opened("voc2007", voc)
    (voc / "ImageSets/Main/test.txt").unlink()
    with pytest.raises(InputError, match=r"ImageSets/Main/test\.txt is missing"):
        opened("voc2007", voc)
    with pytest.raises(InputError, match="voc2012_aug holds masks alone"):
        opened("voc2012_aug", voc)


def test_a_class_mask_must_fit_its_picture(voc, opened):
    mask = voc / "SegmentationClass/000002.png"
    Image.fromarray(np.zeros((5, 6), np.uint8)).save(mask)
    with pytest.raises(InputError, match=r"is 32 x 24, but its mask .*000002\.png is 6 x 5"):
        opened("voc2007", voc, kinds=TargetKinds(pixels=True))
    Image.fromarray(np.full((24, 32), 21, np.uint8)).save(mask)
    with pytest.raises(InputError, match="unknown class 21"):
        opened("voc2007", voc, kinds=TargetKinds(pixels=True))
    Image.fromarray(np.zeros((24, 32, 3), np.uint8)).save(mask)
    with pytest.raises(InputError, match="not a mask of 8-bit numbers"):
        opened("voc2007", voc, kinds=TargetKinds(pixels=True))
