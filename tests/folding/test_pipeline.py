"""Whole networks: every gate in every family, exported, copied, refused."""

import copy
import re
import warnings
import zlib

import pytest
import timm
import torch
import torchvision
from torch import nn
from torch.export import Dim

import convgate.models  # noqa: F401  registers ours
from convgate.errors import InputError
from convgate.folding import fold, folded, pipeline
from convgate.gates import list_gates
from convgate.insertion import insert

OPTIONS = {
    "sa": {"groups": 4},
    "sge": {"groups": 8},
    "fca": {"frequencies": 8},
    "seln": {"reduction": 8},
    **{name: {"num_groups": 8} for name in ("ela", "ela_t", "ela_b", "ela_s", "ela_l")},
}


def resnet50(**options):
    return timm.models.resnet.ResNet(timm.models.resnet.Bottleneck, (1, 1, 1, 1), **options)


def torchvision_resnet():
    kind = torchvision.models.resnet
    return kind.ResNet(kind.Bottleneck, [1, 1, 1, 1], num_classes=5)


NETS = {
    "resnet": (lambda: resnet50(num_classes=5), "block_end"),
    "torchvision_resnet": (torchvision_resnet, "block_end"),
    "mobilenet_v2": (lambda: timm.create_model("mobilenetv2_035", num_classes=5), "spatial"),
    "mobilenet_v3": (
        lambda: timm.create_model("mobilenetv3_small_050", num_classes=5),
        "block_end",
    ),
    "convnext": (lambda: timm.create_model("test_convnext", num_classes=5), "hidden"),
    "selnext": (lambda: timm.create_model("selnext_atto", num_classes=5), "block_end"),
}
SLOW = ("mobilenet_v2", "mobilenet_v3", "convnext")
SITES = ("spatial", "spatial_raw", "expanded", "hidden", "block_end", "stem_end", "stage_end")


@pytest.fixture(autouse=True)
def _float64():
    torch.manual_seed(0)  # these networks run in float32, as users' do


def built(name, gate, at=None):
    """Return a network with a gate; nothing in it is zero, so that nothing hides behind it."""
    build, site = NETS[name]
    net = build()
    insert(net, gate, at=at or site, start="paper", **OPTIONS.get(gate, {}))
    generator = torch.Generator().manual_seed(zlib.crc32(f"{name} {gate}".encode()))
    with torch.no_grad():
        for key, value in [*net.named_parameters(), *net.named_buffers()]:
            if "gate" in key:  # noise on all numbers; more makes a deep net amplify its rounding
                if value.is_floating_point() and "basis" not in key:
                    value.add_(0.05 * torch.rand(value.shape, generator=generator))
            elif value.ndim == 1 and not key.endswith(("bias", "mean")):
                value.copy_(torch.rand(value.shape, generator=generator) + 0.5)
    return net.eval()


def check(net, x):
    torch.manual_seed(1)
    expected = net(x)
    made = fold(net, x)
    torch.manual_seed(1)
    spread = expected.std(0).max() / expected.abs().max()
    assert spread > 1e-5  # the images differ, so the network is alive
    difference = (made(x) - expected).norm() / expected.norm()
    assert difference < 1e-5
    assert max(map(len, str(folded(made)).splitlines())) <= 80
    return made


def check_rounding_alone(net, x, sentence):
    """The fold is exact in float64, and in float32 near the network's own rounding."""
    own, twin = net(x).double(), net.double()
    expected = twin(x.double())
    rounding = (own - expected).norm() / expected.norm()
    difference = float(re.search(r"its output differs by (\S+) of its norm", sentence)[1])
    assert difference < 4 * rounding
    assert folded(fold(twin, x.double())).difference < 1e-12


def images(px=32):
    return torch.randn(2, 3, px, px)


@pytest.mark.parametrize("gate", ["seln", "ela_b", "ean", "grn"])
@pytest.mark.parametrize("name", NETS)
def test_gates_of_every_kind_in_every_family(name, gate):
    made = check(built(name, gate), images())
    report = folded(made)
    assert report.folds
    if gate in ("ean", "grn"):
        assert report.kept


@pytest.mark.slow
@pytest.mark.parametrize("gate", list_gates())
@pytest.mark.parametrize("name", NETS)
def test_every_gate_in_every_family(name, gate):
    done = []
    for at in SITES:
        try:
            net = built(name, gate, at)
        except InputError as error:
            assert f"has no site '{at}'" in str(error)
            continue
        x = images()
        try:
            check(net, x)
        except InputError as error:  # a deep network that amplifies its own rounding
            check_rounding_alone(net, x, str(error))
        done.append(at)
    assert NETS[name][1] in done


def test_a_gate_that_draws_numbers_is_verified_with_the_same_ones():
    check(built("resnet", "pdfam_gmm"), images())


@pytest.mark.parametrize(
    "name", [*("resnet", "selnext"), *(pytest.param(n, marks=pytest.mark.slow) for n in SLOW)]
)
def test_exported_with_any_batch_and_size(name):
    made = fold(built(name, "se"), images(64))
    batch, h, w = Dim("batch", max=64), 32 * Dim("h", min=1, max=32), 32 * Dim("w", min=1, max=32)
    program = torch.export.export(made, (images(64),), dynamic_shapes=({0: batch, 2: h, 3: w},))
    x = torch.randn(3, 3, 96, 128)
    torch.testing.assert_close(program.module()(x), made(x), rtol=1e-4, atol=1e-5)


def test_verified_in_whole_float32():
    """A GPU rounds the inputs of convolutions to TF32 otherwise, and every fold would differ."""
    net, seen, before = built("resnet", "se"), [], torch.backends.cudnn.allow_tf32
    net.conv1.register_forward_hook(lambda *_: seen.append(torch.backends.cudnn.allow_tf32))
    fold(net, images())
    assert seen[-1] is False  # the last pass is the comparison's
    assert torch.backends.cudnn.allow_tf32 == before


def test_the_network_stays_as_it_was():
    net, x = built("resnet", "se").train(), images()
    before, state = copy.deepcopy(net), copy.deepcopy(net.state_dict())
    made = fold(net, x)
    assert net.training
    assert not made.training
    assert list(net.state_dict()) == list(state)
    assert all(torch.equal(net.state_dict()[key], value) for key, value in state.items())
    assert torch.equal(net.eval()(x), before.eval()(x))
    assert all(p.requires_grad for p in net.parameters())
    assert not any(p.requires_grad for p in made.parameters())


def test_the_copy_is_smaller_and_can_be_copied():
    net, x = built("resnet", "se"), images()
    made = fold(net, x)
    assert torch.equal(copy.deepcopy(made)(x), made(x))
    count = [sum(p.numel() for p in each.parameters()) for each in (made, net)]
    assert count[0] < count[1]


def test_a_norm_that_a_gate_hangs_on_leaves_no_numbers_behind():
    made = fold(built("resnet", "se"), images())
    assert not [key for key in made.state_dict() if "running" in key]
    left = {key.rpartition(".")[0] for key in made.state_dict()}
    assert not [name for name in left if name.rpartition(".")[2].startswith("bn")]


def test_other_sizes_and_channels_last():
    net = built("selnext", "seln")
    made = fold(net, images(64))
    for x in (images(32), images(96).to(memory_format=torch.channels_last)):
        torch.testing.assert_close(made(x), net(x), rtol=1e-4, atol=1e-5)


def test_the_size_that_timm_notes_is_enough():
    net = timm.create_model("test_resnet", num_classes=5)
    made = fold(net)
    assert made.pretrained_cfg == net.pretrained_cfg
    assert folded(made).difference < 1e-5


def test_half_precision():
    net = built("resnet", "seln").bfloat16()
    x = images().bfloat16()
    assert (fold(net, x)(x) - net(x)).norm() / net(x).norm() < 8e-2


def test_a_folded_copy_prints_and_goes_through_torchs_own_onnx_export(tmp_path):
    """Its norms are gone; where a gate sat on one, what is left of that holds the gate."""
    session = pytest.importorskip("onnxruntime").InferenceSession
    model, x = built("resnet", "seln"), images()
    net = fold(model, x)
    assert "BatchNorm2d" not in str(net)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of torch and onnxscript, of themselves
        torch.onnx.export(net, (x,), tmp_path / "net.onnx", input_names=["x"], verbose=False)
    (y,) = session(tmp_path / "net.onnx").run(None, {"x": x.numpy()})
    torch.testing.assert_close(torch.from_numpy(y), model(x), rtol=1e-4, atol=1e-4)


def test_a_wrong_fold_is_refused(monkeypatch):
    def wrong(net):
        conv = next(module for _, module in net.steps(nn.Conv2d))
        conv.weight.mul_(1.1)

    monkeypatch.setattr(pipeline, "AFTER", (wrong,))
    with pytest.raises(InputError, match=r"differs by .* more than 1e-05"):
        fold(built("resnet", "se"), images())


class Looks(nn.Module):
    """A network whose path depends on its numbers."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(3, 3, 1)

    def forward(self, x):
        return self.conv(x) if x.sum() > 0 else x


def test_what_is_no_fixed_graph_is_refused():
    with pytest.raises(InputError, match="Looks cannot be folded: its forward is no fixed graph"):
        fold(Looks(), images())


def test_a_network_without_a_convolution_needs_an_image():
    with pytest.raises(InputError, match="give fold an example_input"):
        fold(nn.ReLU())
