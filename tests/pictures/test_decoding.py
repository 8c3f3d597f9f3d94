import io
import warnings

import pytest
import torch
from PIL import Image

from convgate.errors import CorruptFile
from convgate.pictures.decoding import MAX_PIXELS, decode, from_tensor, square, to_tensor


def encode(image, kind="PNG", **options):
    buffer = io.BytesIO()
    image.save(buffer, kind, **options)
    return buffer.getvalue()


def pixels_of(data):
    image = decode(data, "picture")
    assert image.mode == "RGB"
    return to_tensor(image)


def test_rgb_is_exact():
    image = Image.frombytes("RGB", (2, 1), bytes([1, 2, 3, 4, 5, 6]))
    expected = torch.tensor([[[1, 4]], [[2, 5]], [[3, 6]]], dtype=torch.uint8)
    assert torch.equal(pixels_of(encode(image)), expected)


def test_grey_repeats_its_value():
    assert pixels_of(encode(Image.new("L", (3, 2), 77))).unique().tolist() == [77]


def test_sixteen_bit_grey_keeps_its_range():
    for level, expected in ((0, 0), (257 * 100, 100), (65535, 255)):
        image = Image.new("I;16", (2, 2), level)
        assert pixels_of(encode(image)).unique().tolist() == [expected]


def test_transparency_is_dropped():
    image = Image.new("RGBA", (2, 2), (10, 20, 30, 0))
    assert pixels_of(encode(image)).flatten(1)[:, 0].tolist() == [10, 20, 30]


def test_a_palette_with_transparency_is_read_without_a_warning():
    image = Image.new("RGB", (4, 4), (10, 20, 30)).convert("P", palette=Image.Palette.ADAPTIVE)
    data = encode(image, transparency=bytes([128] * 4))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert pixels_of(data).flatten(1)[:, 0].tolist() == [10, 20, 30]


def test_cmyk_becomes_rgb():
    data = encode(Image.new("CMYK", (8, 8), (0, 255, 255, 0)), "JPEG")  # no cyan: red
    red, green, blue = pixels_of(data).float().mean((1, 2)).tolist()
    assert red > 200 and green < 60 and blue < 60


def test_the_orientation_of_the_camera_is_applied():
    image = Image.new("RGB", (4, 2), (255, 0, 0))
    exif = Image.Exif()
    exif[0x0112] = 6  # turn clockwise to view
    assert decode(encode(image, "JPEG", exif=exif), "picture").size == (2, 4)


def test_the_first_frame_of_an_animation_counts():
    frames = [Image.new("RGB", (3, 3), colour) for colour in ((255, 0, 0), (0, 255, 0))]
    data = encode(frames[0], "GIF", save_all=True, append_images=frames[1:])
    assert pixels_of(data)[:, 0, 0].tolist() == [255, 0, 0]


def test_a_stereo_photograph_is_its_first_view():
    views = [Image.new("RGB", (8, 8), colour) for colour in ((255, 0, 0), (0, 0, 255))]
    data = encode(views[0], "MPO", save_all=True, append_images=views[1:])
    assert pixels_of(data)[0].min() > 240


def test_a_truncated_picture_is_named():
    rng = torch.Generator().manual_seed(0)
    noise = torch.randint(256, (3, 64, 64), generator=rng).to(torch.uint8)
    data = encode(from_tensor(noise), "JPEG")
    with pytest.raises(CorruptFile, match=r"^train/cat/1.jpg: cannot be read .*--skip-bad"):
        decode(data[: len(data) // 2], "train/cat/1.jpg")


@pytest.mark.parametrize(
    "data", [b"", b"hello", b"%!PS-Adobe-3.0 EPSF-3.0\n", b"\x89PNG\r\n\x1a\n"]
)
def test_other_files_are_refused_in_one_sentence(data):
    with pytest.raises(CorruptFile) as caught:
        decode(data, "x.png")
    assert str(caught.value).startswith("x.png: cannot be read") and "\n" not in str(caught.value)


def test_a_format_that_runs_an_interpreter_is_not_known():
    with pytest.raises(CorruptFile, match="not an image of a known kind"):
        decode(encode(Image.new("RGB", (4, 4)), "EPS"), "x.jpg")


@pytest.mark.parametrize("factor", [1.5, 4])
def test_an_enormous_picture_is_refused_by_its_header(factor):
    side = int((MAX_PIXELS * factor) ** 0.5)
    data = f"P6 {side} {side} 255\n".encode()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # Pillow's own warning; an error in these tests otherwise
        with pytest.raises(CorruptFile, match=r"bomb.ppm: refused.*pixels"):
            decode(data, "bomb.ppm")
    with pytest.raises(CorruptFile, match=r"bomb.ppm: refused.*pixels"):
        decode(data, "bomb.ppm")


def test_floating_point_pixels_are_refused():
    with pytest.raises(CorruptFile, match="floating-point"):
        decode(encode(Image.new("F", (2, 2), 0.5), "TIFF"), "x.tif")


def test_a_square_of_the_right_size_is_untouched():
    image = Image.new("RGB", (8, 8))
    assert square(image, 8) is image


def test_a_photograph_is_resized_by_the_shorter_side_and_cut_in_the_middle():
    # 7 / 0.875 = 8: the picture is 8 high already, so that the cut is exact
    columns = torch.arange(16, dtype=torch.uint8).repeat(3, 8, 1)
    cut = to_tensor(square(from_tensor(columns), 7))
    assert cut.shape == (3, 7, 7)
    assert cut[0, 0].tolist() == list(range(4, 11))


@pytest.mark.parametrize("size", [(100, 60), (60, 100), (33, 32), (5, 9), (32, 400), (1, 1)])
def test_any_size_becomes_the_square(size):
    assert square(Image.new("RGB", size, (9, 8, 7)), 32).size == (32, 32)


def test_upscaling_is_bilinear():
    image = from_tensor(torch.tensor([[[0, 200], [0, 200]]], dtype=torch.uint8))
    # bilinear at twice the size: samples at -0.25, 0.25, 0.75 and 1.25 of the way
    assert to_tensor(square(image, 4))[0, 0].tolist() == [0, 50, 150, 200]


@pytest.mark.parametrize("channels", [1, 3])
def test_tensor_round_trip(channels):
    pixels = torch.arange(channels * 6, dtype=torch.uint8).view(channels, 2, 3)
    assert torch.equal(to_tensor(from_tensor(pixels)), pixels)
