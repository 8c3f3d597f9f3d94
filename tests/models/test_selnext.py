"""SELNeXt against a plain composition, timm's ConvNeXt and the paper's counts."""

import pytest
import timm
import torch
import torch.nn.functional as F
from timm.models.convnext import ConvNeXt
from torch import nn

from convgate.errors import InputError
from convgate.models import SELNeXt
from convgate.models.selnext_block import BlockOptions, SELNeXtBlock

SMALL = {"depths": (1, 1, 2, 1), "dims": (8, 16, 24, 32), "stem_stride": 2}


def small(**options):
    return SELNeXt(num_classes=5, **{**SMALL, **options}).double().eval()


def randomise(model):
    """Leave no parameter at a value that hides a mistake, such as a layer scale of 1e-6."""
    for parameter in model.parameters():
        nn.init.normal_(parameter, std=0.3)
    return model


def parameters(name, **options):
    with torch.device("meta"):
        model = timm.create_model(name, **options)
    return sum(parameter.numel() for parameter in model.parameters())


def layer_norm(x, weight, bias, eps):
    """Over the channels of (N, C, H, W) or (N, C), with the biased variance."""
    centred = x - x.mean(1, keepdim=True)
    normed = centred / (centred.square().mean(1, keepdim=True) + eps).sqrt()
    shape = (1, -1) + (1,) * (x.ndim - 2)
    return normed * weight.reshape(shape) + bias.reshape(shape)


def plain_forward(w, x, depths):
    """The paper's network in NCHW convolutions, from a dictionary of weights."""
    x = F.conv2d(x, w["stem.0.weight"], w["stem.0.bias"], stride=w["stem.0.weight"].shape[-1])
    x = layer_norm(x, w["stem.1.weight"], w["stem.1.bias"], 1e-6)
    for stage, depth in enumerate(depths):
        if stage:
            down = f"stages.{stage}.downsample."
            x = layer_norm(x, w[down + "0.weight"], w[down + "0.bias"], 1e-6)
            x = F.conv2d(x, w[down + "1.weight"], w[down + "1.bias"], stride=2)
        for block in range(depth):
            x = plain_block(w, f"stages.{stage}.blocks.{block}.", x)
    x = layer_norm(x.mean((2, 3)), w["head.norm.weight"], w["head.norm.bias"], 1e-6)
    return x @ w["head.fc.weight"].T + w["head.fc.bias"]


def plain_block(w, at, x):
    y = F.conv2d(x, w[at + "conv_dw.weight"], w[at + "conv_dw.bias"], padding=3, groups=x.shape[1])
    y = F.conv2d(y, w[at + "mlp.fc1.weight"][:, :, None, None], w[at + "mlp.fc1.bias"])
    y = y * (1 + torch.erf(y / 2**0.5)) / 2
    gate = at + "mlp.gate."
    s = y.mean((2, 3)) @ w[gate + "squeeze.weight"].T + w[gate + "squeeze.bias"]
    s = s.clamp(min=0) @ w[gate + "excite.weight"].T + w[gate + "excite.bias"]
    s = layer_norm(s, w[gate + "norm.weight"], w[gate + "norm.bias"], 1e-5)
    y = y * s[:, :, None, None]
    y = F.conv2d(y, w[at + "mlp.fc2.weight"][:, :, None, None], w[at + "mlp.fc2.bias"])
    return x + w[at + "gamma"][:, None, None] * y


def test_forward_is_the_plain_composition():
    torch.manual_seed(0)
    model = randomise(small())
    x = torch.randn(2, 3, 33, 32, dtype=torch.float64)
    expected = plain_forward(model.state_dict(), x, SMALL["depths"])
    torch.testing.assert_close(model(x), expected, rtol=1e-10, atol=1e-12)


@pytest.mark.parametrize("gate", ["none", "grn"])
def test_without_seln_it_is_timms_convnext(gate):
    torch.manual_seed(0)
    model = randomise(small(gate=gate, block_norm=True, ls_init_value=0.0 if gate == "grn" else 1))
    other = ConvNeXt(
        num_classes=5,
        depths=SMALL["depths"],
        dims=SMALL["dims"],
        patch_size=4,
        use_grn=gate == "grn",
        ls_init_value=None if gate == "grn" else 1.0,
        norm_eps=1e-6,
    )
    other.stem[0] = nn.Conv2d(3, 8, 2, 2)  # timm's strides follow its patch size; ours is 2
    weights = {
        key.replace("gate.gamma", "grn.weight").replace("gate.beta", "grn.bias"): value
        for key, value in model.state_dict().items()
    }
    other.double().eval().load_state_dict(weights)
    x = torch.randn(2, 3, 32, 32, dtype=torch.float64)
    torch.testing.assert_close(model(x), other(x), rtol=1e-10, atol=1e-12)


def test_parameters_of_the_three_sizes():
    assert parameters("selnext_tiny") == 35_126_656
    assert round(parameters("selnext_small") / 1e6, 4) == 62.1405
    assert round(parameters("selnext_base") / 1e6, 4) == 109.7152


@pytest.mark.parametrize(
    ("options", "millions"),
    [
        ({"gate": "none", "block_norm": True}, 28.5891),
        ({"gate": "grn", "block_norm": True, "ls_init_value": 0.0}, 28.6355),
        ({"gate": "se", "block_norm": True}, 35.0869),
        ({"gate": "seln", "block_norm": True}, 35.1399),
        ({"gate": "se"}, 35.0737),
        ({}, 35.1267),
    ],
)
def test_parameters_of_the_ablation(options, millions):
    assert round(parameters("selnext_tiny", **options) / 1e6, 4) == millions


def test_parameters_of_atto_by_hand():
    stem = 3 * 16 * 2 * 2 + 16 + 2 * 16
    blocks = sum(
        depth
        * (
            (49 + 1) * c  # depthwise
            + (c * 4 * c + 4 * c) + (4 * c * c + c)  # fc1, fc2
            + (4 * c * (c // 4) + c // 4) + (c // 4 * 4 * c + 4 * c) + 2 * 4 * c  # SELN
            + c  # layer scale
        )
        for depth, c in zip((2, 2, 6, 2), (16, 32, 64, 128), strict=True)
    )  # fmt: skip
    down = sum(2 * c + 4 * c * 2 * c + 2 * c for c in (16, 32, 64))
    head = 2 * 128 + 128 * 10 + 10
    assert parameters("selnext_atto") == stem + blocks + down + head == 694_514


def test_first_values():
    torch.manual_seed(0)
    model = SELNeXt(num_classes=5, **SMALL)
    for name, parameter in model.named_parameters():
        if name.endswith("bias"):
            assert not parameter.any(), name
        elif name.endswith("gamma"):
            assert torch.equal(parameter, torch.full_like(parameter, 1e-6))
        elif parameter.ndim > 1:
            assert parameter.abs().max() <= 2, name
            tolerance = 5 * 0.02 / (2 * parameter.numel()) ** 0.5
            assert abs(parameter.std().item() - 0.02) < max(tolerance, 1e-3), name
    eps = {name: m.eps for name, m in model.named_modules() if isinstance(m, nn.LayerNorm)}
    assert {name for name, value in eps.items() if value == 1e-5} == {
        name for name in eps if name.endswith("mlp.gate.norm")
    }
    assert set(eps.values()) == {1e-5, 1e-6}


def test_drop_path_grows_linearly():
    model = SELNeXt(drop_path_rate=0.4, **SMALL)
    blocks = [block for stage in model.stages for block in stage.blocks]
    rates = [getattr(block.drop_path, "drop_prob", 0.0) for block in blocks]
    assert rates == pytest.approx([0.0, 0.1, 0.2, 0.3, 0.4])


@pytest.mark.parametrize("side", [32, 33, 50, 64])
@pytest.mark.parametrize("stem_stride", [2, 4])
def test_any_size_from_32(side, stem_stride):
    model = small(stem_stride=stem_stride)
    assert model(torch.randn(1, 3, side, side + 1, dtype=torch.float64)).shape == (1, 5)


def test_unknown_block_option_is_named():
    with pytest.raises(TypeError, match="gaet"):
        SELNeXt(gaet="se")
    with pytest.raises(InputError, match="did you mean 'seln'"):
        SELNeXt(gate="selm")


def test_block_hands_on_channels_last_memory():
    y = SELNeXtBlock(8, BlockOptions())(torch.randn(2, 8, 5, 6))
    assert y.is_contiguous(memory_format=torch.channels_last)


def test_bfloat16_autocast_is_close():
    torch.manual_seed(0)
    model = randomise(small()).float()
    x = torch.randn(2, 3, 32, 32)
    with torch.autocast("cpu", torch.bfloat16):
        low = model(x)
    exact = model(x)
    assert (low.float() - exact).norm() <= 0.05 * exact.norm()
