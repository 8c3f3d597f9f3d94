"""What stands where in the picture of maps, and under which class."""

from dataclasses import replace

import pytest
import torch
from PIL import Image
from timm.data.imagenet_info import ImageNetInfo

from convgate.errors import InputError
from convgate.models import create_model
from convgate.view import compare_maps
from convgate.view.cam import find_class, numbers
from convgate.view.cam_picture import (
    CHARS,
    caption,
    draw_maps,
    short,
    side_by_side,
    summary,
)


@pytest.fixture
def images():
    return [
        ("photos/cat/0.png", Image.new("RGB", (40, 30), "red")),
        ("photos/dog/1.png", Image.effect_noise((30, 40), 90).convert("RGB")),
    ]


@pytest.fixture
def networks(network):
    torch.manual_seed(0)
    names = tuple(f"c{i}" for i in range(10))
    return [
        network(create_model("resnet8"), 32, classes=names, label="one"),
        network(create_model("selnext_atto"), 32, classes=(), label="other", trained=False),
    ]


def test_networks_stand_side_by_side_on_the_same_photographs(networks, images):
    told = []
    found = compare_maps(networks, images, on_progress=lambda *words: told.append(words))
    columns, rows = side_by_side(found)
    assert columns == ["photograph", "one", "other (random weights)"]
    assert [name for name, _ in rows] == ["cat/0.png", "dog/1.png"]
    for (_, cells), (_, seen) in zip(rows, found, strict=True):
        assert cells[0].heat is None
        for cell, its in zip(cells[1:], seen, strict=True):
            assert cell.heat is its.maps[0] and cell.heat.shape == (32, 32)
            share = its.network.model(its.network.normalise(its.pixels[None])).softmax(1)[0]
            name = its.network.class_name(int(share.argmax()))
            assert cell.caption == f"{name} {share.max().item():.0%}"
    assert [share for _, share in told] == [0.25, 0.5, 0.75, 1.0]


def test_a_class_that_is_asked_for_has_its_own_line(networks, images):
    ((_, (seen,)),) = compare_maps(networks[:1], images[:1], class_name="c7")
    assert seen.scores.target == 7
    if seen.scores.predicted != 7:
        assert caption(seen).splitlines()[1].startswith("of c7 ")
    (row,) = numbers([("x", [seen])])
    assert row["map_of"] == "c7" and row["map_of_probability"] == seen.scores.target_probability
    assert summary([("a/b/c.png", [seen])]) == [{"picture": "b/c.png", "one": caption(seen)}]


def test_a_strip_has_a_row_for_each_network_and_a_map_a_column(networks, images):
    found = compare_maps(networks, images[:1], layers="3")
    columns, rows = side_by_side(found)
    assert columns == ["photograph", "map 1 of 3", "map 2 of 3", "map 3 of 3"]
    assert [name for name, _ in rows] == ["one", "other (random weights)"]
    captions = [[cell.caption for cell in cells[1:]] for _, cells in rows]
    assert captions[0] == ["layer1\n16 x 32 x 32", "layer2\n32 x 16 x 16", "layer3\n64 x 8 x 8"]
    assert captions[1][2] == "stages\n128 x 2 x 2"


def test_layers_can_be_named_alike_in_all_networks(networks, images):
    ((_, (seen,)),) = compare_maps(networks[:1], images[:1], layers="layer1,layer3")
    assert [layer.path for layer in seen.layers] == ["layer1", "layer3"]
    with pytest.raises(InputError, match="unknown layer 'layer1'"):
        compare_maps(networks, images[:1], layers="layer1")


def test_rows_of_different_length_are_refused(networks, images):
    one, other = (
        compare_maps([n], images[:1], layers=k) for n, k in zip(networks, "23", strict=True)
    )
    with pytest.raises(InputError, match="different numbers of these layers"):
        side_by_side([("x", [one[0][1][0], other[0][1][0]])])


def test_classes_by_name_and_number(networks):
    one, other = networks
    assert (find_class(one, ""), find_class(one, "c3"), find_class(one, "4")) == (None, 3, 4)
    with pytest.raises(InputError, match="unknown class 'c33'; did you mean 'c3'"):
        find_class(one, "c33")
    with pytest.raises(InputError, match="other has no class names; give the class by its number"):
        find_class(other, "cat")
    with pytest.raises(InputError, match="class 10 is not one of one's 10"):
        compare_maps([one], [("x", Image.new("RGB", (8, 8)))], class_name="10")


def test_an_unknown_method_is_found_before_the_work(networks):
    with pytest.raises(InputError, match="unknown CAM method 'gradkam'; did you mean 'gradcam'"):
        compare_maps(networks, [], method="gradkam")


def test_long_names_stay_within_their_cells(network, images):
    torch.manual_seed(0)
    label = "a_network_with_a_long_name_224 + attention (first run of three)"
    classes = tuple(f"yellow lady's slipper orchid number {i}" for i in range(10))
    nets = [
        network(create_model("resnet8"), 32, classes=classes, label=f"{label} {i}") for i in (1, 2)
    ]
    columns, rows = side_by_side(compare_maps(nets, images[:1]))
    spec = draw_maps(columns, rows, "note").to_dict()
    texts = [d["text"] for rows in spec["datasets"].values() for d in rows if "text" in d]
    assert len(texts) == 3 + 3 + 1 + 1  # above the columns, below the tiles, beside, below all
    lines = [line for text in texts for line in text.splitlines()]
    assert max(map(len, lines)) <= CHARS + 4  # beside a name of CHARS - 8 stands " 100%"
    assert len(short(classes[0])) <= CHARS - 8
    assert short("cat") == "cat"


def test_classes_by_a_word_of_their_description(network):
    """ImageNet's first class, and the two that are called crane: a bird and a machine."""
    info = ImageNetInfo("imagenet-1k")
    net = network(create_model("resnet8"), 32, classes=tuple(info.label_names()))
    assert [find_class(net, n) for n in ("n01440764", "tench", "Tinca tinca", "0")] == [0] * 4
    assert find_class(net, "Great White Shark") == 2
    with pytest.raises(InputError, match="'crane' is the name of classes 134 and 517; give one"):
        find_class(net, "crane")
    with pytest.raises(InputError, match="unknown class 'tensh'; did you mean 'tench'"):
        find_class(net, "tensh")


def test_two_networks_of_one_title_keep_their_columns_and_rows(network, images):
    torch.manual_seed(0)
    nets = [network(create_model("resnet8"), 32, classes=(), label="run") for _ in range(2)]
    found = compare_maps(nets, images)
    assert [list(row) for row in summary(found)] == [["picture", "run", "run (2)"]] * 2
    assert [row["model"] for row in numbers(found)] == ["run", "run (2)"] * 2
    assert summary(found)[0]["run (2)"] == caption(found[0][1][1])
    assert side_by_side(found)[0] == ["photograph", "run", "run (2)"]


def test_a_network_that_does_not_classify_is_refused(network, images):
    net = network(create_model("resnet8"), 32)
    net = replace(net, card=replace(net.card, task="segment"))
    with pytest.raises(InputError, match="a class activation map takes networks that classify"):
        compare_maps([net], images)
