"""The one-pass distance against the double loop over channel pairs."""

import pytest
import torch
from torch import nn

from convgate.errors import InputError
from convgate.measure import feature_distances
from convgate.measure.diversity import DistanceSum


def mean_feature_distance(features):
    total = DistanceSum()
    total.add(features)
    return total.result().distance


def double_loop(features):
    """Equation 4, pair by pair, in float64; a zero channel has cosine 0."""
    total = 0.0
    for image in features.double().flatten(2):
        for one in image:
            for other in image:
                scale = float(one.norm() * other.norm())
                cosine = float(one @ other) / scale if scale else 0.0
                total += (1 - cosine) / 2
    return total / (len(features) * features.shape[1] ** 2)


@pytest.mark.parametrize("shape", [(1, 1, 3, 3), (2, 5, 1, 1), (3, 7, 4, 5), (2, 16, 6, 6)])
@pytest.mark.parametrize(("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6)])
def test_equals_the_double_loop(shape, dtype, tolerance):
    features = torch.randn(shape, generator=torch.Generator().manual_seed(0)).to(dtype) + 0.5
    assert mean_feature_distance(features) == pytest.approx(double_loop(features), abs=tolerance)


def test_equals_the_double_loop_after_a_relu_with_dead_channels():
    features = torch.randn(2, 6, 4, 4, dtype=torch.float64).relu()
    features[0, 2] = 0
    features[1, :] = 0
    assert mean_feature_distance(features) == pytest.approx(double_loop(features), abs=1e-12)


def test_limits():
    pattern = torch.rand(1, 1, 4, 4)
    same = pattern * torch.tensor([1.0, 2.0, 30.0]).view(1, 3, 1, 1)
    assert mean_feature_distance(same) == pytest.approx(0, abs=1e-6)
    # C orthogonal channels: C of the C² pairs are the diagonal with distance 0, the rest has 1/2.
    assert mean_feature_distance(torch.eye(4).view(1, 4, 2, 2)) == pytest.approx(0.5 * 12 / 16)
    opposite = torch.cat([pattern, -pattern], 1)  # distances 0, 1, 1, 0
    assert mean_feature_distance(opposite) == pytest.approx(0.5)


@pytest.mark.parametrize("scale", [1e-30, 1e30])
def test_scale_does_not_matter_even_at_the_ends_of_float32(scale):
    features = torch.rand(1, 4, 3, 3)
    expected = double_loop(features)
    assert mean_feature_distance(features * scale) == pytest.approx(expected, abs=1e-6)


def test_half_precision_is_summed_in_float32():
    features = (torch.rand(1, 64, 8, 8) * 100).half()  # squares overflow float16
    assert mean_feature_distance(features) == pytest.approx(double_loop(features), abs=1e-6)


def test_batches_add_up_to_the_whole():
    features = torch.randn(5, 4, 3, 3, dtype=torch.float64)
    total = DistanceSum()
    total.add(features[:2])
    total.add(features[2:])
    found = total.result()
    assert found.distance == pytest.approx(double_loop(features), abs=1e-12)
    assert (found.images, found.channels, found.zero_share) == (5, 4, 0.0)


def test_share_of_zero_channels():
    features = torch.ones(2, 4, 3, 3)
    features[0, :3] = 0
    total = DistanceSum()
    total.add(features)
    assert total.result().zero_share == 3 / 8


def test_layers_of_a_model_in_one_pass():
    net = nn.Sequential(nn.Conv2d(3, 6, 3), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
    x = torch.randn(4, 3, 6, 6)
    found = feature_distances(net, [x[:3], x[3:]], ["0", "1"])
    with torch.no_grad():
        expected = double_loop(net[0](x)), double_loop(net[:2](x))
    assert found["0"].distance == pytest.approx(expected[0], abs=1e-6)
    assert found["1"].distance == pytest.approx(expected[1], abs=1e-6)
    assert found["0"].images == 4
    assert net.training
    assert not net[0]._forward_hooks
    assert list(feature_distances(net, x)) == ["1"]  # the deepest map of more than one position


def test_errors_name_the_way_out():
    net = nn.Sequential(nn.Flatten(), nn.Linear(12, 2))
    x = torch.randn(1, 3, 2, 2)
    with pytest.raises(InputError, match="name the layers"):
        feature_distances(net, x)
    with pytest.raises(InputError, match="unknown layer '7'"):
        feature_distances(net, x, ["7"])
    with pytest.raises(InputError, match=r"shape \(1, 2\)"):
        feature_distances(net, x, ["1"])
    with pytest.raises(InputError, match="no images"):
        feature_distances(net, [])
    with pytest.raises(InputError, match="at least one image"):
        DistanceSum().result()


def test_layers_with_their_channels_last():
    class Turned(nn.Module):
        def forward(self, x):
            return x.permute(0, 2, 3, 1)

    x = torch.rand(2, 3, 4, 5)
    model = nn.Sequential(nn.Identity(), Turned())
    found = feature_distances(model, x, ["0", "1"], channels_last=["1"])
    assert found["1"] == found["0"]
    assert found["1"].channels == 3
