import pytest
import torch

from convgate.errors import InputError
from convgate.tasks.backbone import create_backbone
from convgate.tasks.detect import create_detector
from convgate.tasks.detect.shift import shift, shift_objects


@pytest.mark.parametrize(
    ("across", "down"), [(0, 0), (2, 1), (-2, -1), (3, -4), (-5, 4), (9, 0), (0, -9)]
)
def test_each_pixel_moves_and_what_comes_in_has_the_colour(across, down):
    image = torch.rand(3, 4, 5)
    colour = torch.tensor([7.0, 8, 9]).view(3, 1, 1)
    moved = shift(image, across, down, colour)
    for y in range(4):
        for x in range(5):
            inside = 0 <= y - down < 4 and 0 <= x - across < 5
            wanted = image[:, y - down, x - across] if inside else colour.flatten()
            assert torch.equal(moved[:, y, x], wanted)


def test_boxes_are_cut_at_the_border_and_lost_beyond_it():
    target = {
        "boxes": torch.tensor([[0.0, 0, 10, 10], [30, 5, 40, 20], [2, 2, 4, 4]]),
        "labels": torch.tensor([1, 2, 3]),
    }
    found = shift_objects(target, -4, 3, torch.zeros(3, 20, 40))
    assert found["boxes"].tolist() == [[0, 3, 6, 13], [26, 8, 36, 20]]
    assert found["labels"].tolist() == [1, 2]


def yolof(**options):
    backbone = create_backbone("selnext_atto", stem_stride=4, depths=(1, 1, 1, 1))
    return create_detector(
        "yolof", backbone, num_classes=2, min_size=64, max_size=64, **options
    ).transform


def test_half_of_the_resized_training_images_move_with_their_boxes():
    """A white square on black, doubled: its first bright pixel is where the box begins."""
    torch.manual_seed(0)
    transform = yolof(shift_px=8)
    image = torch.zeros(3, 32, 32)
    image[:, 10:20, 12:22] = 1
    target = {"boxes": torch.tensor([[12.0, 10, 22, 20]]), "labels": torch.tensor([1])}
    moved = set()
    for _ in range(60):
        batch, (found,) = transform([image], [target])
        pixels = batch.tensors[0, 0]
        bright = (pixels > (pixels.min() + pixels.max()) / 2).nonzero()
        left, top = int(bright[:, 1].min()), int(bright[:, 0].min())
        assert found["boxes"][0, :2].tolist() == [left, top]
        moved.add((left - 24, top - 20))
    assert (0, 0) in moved and len(moved) > 15
    assert max(abs(step) for pair in moved for step in pair) <= 8
    assert target["boxes"].tolist() == [[12, 10, 22, 20]]  # left as it was
    assert torch.equal(transform.eval()([image])[0].tensors[0], transform([image])[0].tensors[0])


def test_what_comes_in_is_black():
    torch.manual_seed(2)
    transform = yolof(shift_px=8)
    target = {"boxes": torch.tensor([[2.0, 2, 22, 20]]), "labels": torch.tensor([1])}
    black, white = (transform.normalize(torch.full((3, 1, 1), v)) for v in (0.0, 1.0))
    dark = 0
    for _ in range(20):
        batch, _ = transform([torch.ones(3, 32, 32)], [target])
        is_black, is_white = (
            torch.isclose(batch.tensors[0], c, atol=1e-5).all(0) for c in (black, white)
        )
        assert (is_black ^ is_white).all()
        dark += int(is_black.sum())
    assert dark > 1000


def test_no_shift_draws_no_number_and_less_than_none_is_refused():
    transform = yolof()
    before = torch.random.get_rng_state()
    image, target = transform.resize(
        torch.rand(3, 32, 32), {"boxes": torch.zeros(0, 4), "labels": torch.zeros(0).long()}
    )
    assert image.shape == (3, 64, 64) and len(target["boxes"]) == 0
    state = torch.random.get_rng_state()
    torch.random.set_rng_state(before)
    torch.rand(3, 32, 32), torch.empty(1).uniform_(0, 1)  # the picture, torchvision's size
    assert torch.equal(torch.random.get_rng_state(), state)
    with pytest.raises(InputError, match="shift_px=-1 must be 0 or more"):
        yolof(shift_px=-1)
