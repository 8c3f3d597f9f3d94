"""Which pictures are found, in which order, and that every kind of them can be streamed."""

import zipfile

import pytest
import torch
from PIL import Image

from convgate.errors import CorruptFile, InputError
from convgate.networks import Preprocessing
from convgate.view import find_pictures, stream


def square(px):
    """Return how training of this package cuts pictures."""
    zeros, ones = (0.0,) * 3, (1.0,) * 3
    return Preprocessing(input_size=(3, px, px), mean=zeros, std=ones, resize="square")


def zipped(folder):
    path = folder.with_suffix(".zip")
    with zipfile.ZipFile(path, "w") as archive:
        for file in sorted(folder.rglob("*.png")):
            archive.write(file, file.relative_to(folder.parent))
    return path


def test_a_validation_folder_is_preferred_in_a_folder_and_in_a_zip(folder):
    names = [f"val/{c}/{i}.png" for c, count in (("cat", 4), ("dog", 2)) for i in range(count)]
    assert list(find_pictures(folder).names) == names
    assert list(find_pictures(zipped(folder)).names) == [f"photos/{name}" for name in names]


def test_without_one_all_pictures_are_taken_at_any_depth(folder):
    found = find_pictures(folder / "train")
    assert len(found) == 6
    Image.new("RGB", (4, 4)).save(folder / "train" / "loose.bmp")
    (folder / "train" / "notes.txt").write_text("no picture")
    assert len(find_pictures(folder / "train")) == 7


def test_a_count_goes_through_the_classes_at_even_steps(folder):
    found = find_pictures(folder, count=3)
    assert list(found.names) == ["val/cat/0.png", "val/cat/2.png", "val/dog/0.png"]
    assert len(find_pictures(folder, count=100)) == 6


def test_a_class_is_a_folder(folder):
    assert list(find_pictures(folder, class_name="dog").names) == ["val/dog/0.png", "val/dog/1.png"]
    with pytest.raises(InputError, match="unknown class 'dgo'; did you mean 'dog'"):
        find_pictures(folder, class_name="dgo")


def test_a_single_file_is_a_picture_whatever_its_name(folder, tmp_path):
    odd = tmp_path / "cat.photo"
    odd.write_bytes((folder / "val" / "cat" / "0.png").read_bytes())
    assert find_pictures(odd).load(0).size == (20, 24)


@pytest.mark.parametrize("mode", ["L", "RGBA", "P", "1", "CMYK", "I;16"])
def test_every_mode_becomes_rgb(tmp_path, mode):
    path = tmp_path / ("a.tif" if mode == "CMYK" else "a.png")
    Image.new(mode, (30, 10)).save(path)
    (pixels,) = stream(find_pictures(path), square(8))
    assert (pixels.shape, pixels.dtype) == ((1, 3, 8, 8), torch.uint8)


def test_the_camera_s_orientation_is_applied(tmp_path):
    image = Image.new("RGB", (20, 10), "white")
    image.paste("black", (0, 0, 10, 10))  # the left half
    exif = Image.Exif()
    exif[0x0112] = 6  # stored on its side: to be turned by 90 degrees clockwise
    image.save(tmp_path / "a.png", exif=exif)
    (pixels,) = stream(find_pictures(tmp_path / "a.png"), square(10))
    upright = find_pictures(tmp_path / "a.png").load(0)
    assert upright.size == (10, 20)
    assert upright.getpixel((5, 2)) == (0, 0, 0)
    assert upright.getpixel((5, 17)) == (255, 255, 255)
    assert pixels.shape == (1, 3, 10, 10)


def test_batches_hold_every_picture_once_and_say_how_far_they_are(folder):
    told = []
    pictures = find_pictures(folder)
    note = {"on_progress": lambda *words: told.append(words)}
    batches = list(stream(pictures, square(8), batch=4, **note))
    assert [len(batch) for batch in batches] == [4, 2]
    assert told == [("4 of 6 pictures", 4 / 6), ("6 of 6 pictures", 1.0)]
    again = torch.cat(list(stream(pictures, square(8), batch=1)))
    assert torch.equal(torch.cat(batches), again)


def test_damaged_pictures_stop_or_are_left_out(folder):
    bad = folder / "val" / "cat" / "1.png"
    bad.write_bytes(bad.read_bytes()[:40])
    with pytest.raises(CorruptFile, match=r"1\.png: cannot be read as an image"):
        list(stream(find_pictures(folder), square(8)))
    assert len(find_pictures(folder, skip_bad=True)) == 5
    with pytest.raises(InputError, match=r"every picture is damaged, .*1\.png first"):
        find_pictures(bad, skip_bad=True)


def test_nothing_to_look_at_is_said(tmp_path):
    with pytest.raises(InputError, match="holds no picture"):
        find_pictures(tmp_path)
    with pytest.raises(InputError, match="no such folder"):
        find_pictures(tmp_path / "no")
    with pytest.raises(InputError, match="images=-1 leaves no picture"):
        find_pictures(tmp_path, count=-1)


def test_an_empty_batch_is_refused(folder):
    with pytest.raises(InputError, match="batch=0"):
        list(stream(find_pictures(folder), square(8), batch=0))
