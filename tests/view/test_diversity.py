"""Distances of every block in one pass, against the double loop over channel pairs."""

import pytest
import torch

from convgate.errors import InputError
from convgate.insertion import insert
from convgate.models import create_model
from convgate.view import measure_diversity
from convgate.view.diversity import draw_diversity, layers_to_measure


def double_loop(maps):
    """Equation 4, pair by pair: maps (N, C, H, W)."""
    units = torch.nn.functional.normalize(maps.double().flatten(2), dim=2)
    cosines = units @ units.transpose(1, 2)
    return float(((1 - cosines) / 2).mean())


def captured(model, paths, x):
    kept = {}
    for path in paths:
        model.get_submodule(path).register_forward_hook(
            lambda module, args, out, path=path: kept.setdefault(path, out)
        )
    with torch.no_grad():
        model.eval()(x)
    return kept


@pytest.mark.parametrize(
    ("name", "where", "paths", "last"),
    [
        ("selnext_atto", "expansion", [f"stages.{s}.blocks.{b}.mlp.act" for s, n in enumerate(
            (2, 2, 6, 2)) for b in range(n)], True),
        ("convnextv2_atto", "expansion", [f"stages.{s}.blocks.{b}.mlp.act" for s, n in enumerate(
            (2, 2, 6, 2)) for b in range(n)], False),
        ("resnet20", "block", [f"layer{s}.{b}" for s in (1, 2, 3) for b in range(3)], False),
        ("torchvision/mobilenet_v2", "expansion", None, False),
        ("mobilevit_xs", "expansion", None, False),
    ],
)  # fmt: skip
def test_each_block_is_looked_at_where_it_says(network, pixels, name, where, paths, last):
    torch.manual_seed(0)
    net = network(create_model(name), 32)
    big = pixels.repeat(1, 1, 2, 2)[:3]
    (curve,) = measure_diversity([net], lambda images: torch.split(big, 2))
    assert where in curve.where
    if paths is not None:
        assert list(curve.distances) == paths
    kept = captured(net.model, curve.distances, net.normalise(big))
    for path, found in curve.distances.items():
        maps = kept[path].permute(0, 3, 1, 2) if last else kept[path]
        assert found.distance == pytest.approx(double_loop(maps), abs=1e-5)
        assert (found.channels, found.images) == (maps.shape[1], 3)


def test_mobilenet_s_places_have_the_expanded_width(network):
    """Six times the block's input in all blocks but the first, which does not expand."""
    net = network(create_model("torchvision/mobilenet_v2"), 32)
    inputs = (16, 24, 24, 32, 32, 32, 64, 64, 64, 64, 96, 96, 96, 160, 160, 160)
    black = torch.zeros(1, 3, 32, 32, dtype=torch.uint8)
    (curve,) = measure_diversity([net], lambda images: [black])
    assert [d.channels for d in curve.distances.values()] == [6 * width for width in inputs]


def test_networks_of_two_sizes_share_a_call_and_keep_their_own_numbers(network, pixels):
    torch.manual_seed(0)
    nets = [network(create_model("resnet8"), px) for px in (16, 8, 16)]

    def batches(images):
        px = images.image_px
        return torch.split(pixels[..., :px, :px], 3)

    together = measure_diversity(nets, batches)
    for net, curve in zip(nets, together, strict=True):
        (alone,) = measure_diversity([net], batches)
        assert curve.distances == alone.distances


def test_streaming_equals_all_at_once(network, pixels):
    net = network(create_model("resnet8"), 16)
    (whole,), (single,) = (
        measure_diversity([net], lambda images, n=n: torch.split(pixels, n)) for n in (8, 1)
    )
    for path, found in whole.distances.items():
        assert single.distances[path].distance == pytest.approx(found.distance, abs=1e-6)


def test_named_layers(network, pixels):
    net = network(create_model("resnet8"), 16)
    (curve,) = measure_diversity([net], lambda images: [pixels], ["layer[12]"])
    assert list(curve.distances) == ["layer1", "layer2"]
    with pytest.raises(InputError, match="unknown layer 'layr1'; did you mean 'layer1"):
        layers_to_measure(net, ["layr1"])


def test_an_inserted_gate_on_the_hidden_features_counts_to_them(network, pixels):
    model = create_model("selnext_atto", gate="none")
    plain = layers_to_measure(network(model, 32))
    insert(model, "se", at="hidden", start="paper")
    assert layers_to_measure(network(model, 32)) == plain


def test_rows_and_summary_name_what_was_measured(network, pixels):
    net = network(create_model("resnet8"), 16, trained=False)
    (curve,) = measure_diversity([net], lambda images: [pixels])
    rows = curve.rows()
    assert [row["layer"] for row in rows] == ["layer1.0", "layer2.0", "layer3.0"]
    assert {row["weights"] for row in rows} == {"random"}
    assert curve.summary()["model"] == "net (random weights)"
    mean = sum(row["distance"] for row in rows) / 3
    assert float(curve.summary()["mean distance"]) == pytest.approx(mean, abs=5e-5)


@pytest.mark.parametrize("names", [("resnet8", "resnet8"), ("resnet8", "resnet20")])
def test_networks_of_different_depth_share_an_axis_from_0_to_1(network, pixels, names):
    nets = [network(create_model(name), 16, label=f"{i} {name}") for i, name in enumerate(names)]
    spec = draw_diversity(measure_diversity(nets, lambda images: [pixels])).to_dict()
    labels = [f"{i} {name}: after each block" for i, name in enumerate(names)]
    (points,) = spec["datasets"].values()
    ends = [max(p["x"] for p in points if p["network"] == label) for label in labels]
    assert ends == ([1.0, 1.0] if len(set(names)) > 1 else [3, 3])
    assert spec["encoding"]["color"]["scale"]["domain"] == labels


def test_two_networks_of_one_title_have_a_line_each(network, pixels):
    nets = [network(create_model("resnet8"), 16) for _ in range(2)]
    curves = measure_diversity(nets, lambda images: [pixels])
    (points,) = draw_diversity(curves).to_dict()["datasets"].values()
    assert {p["network"] for p in points} == {
        "net: after each block",
        "net: after each block (2)",
    }
    assert len(points) == 6
