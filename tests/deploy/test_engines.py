"""Every engine computes the eager network, in each dtype it has, or says why not."""

import sys
from dataclasses import replace

import pytest
import torch
from torch import nn

from convgate.deploy import RUNTIMES, EngineConfig, open_engine
from convgate.deploy.runtimes import check_engine
from convgate.errors import InputError
from convgate.gates import create_gate

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))
LOOSE = {"float32": 1e-4, "bfloat16": 8e-2, "float16": 2e-2, "int8": 0.5}


@pytest.fixture(scope="module")
def gated():
    """A network with one gate, small enough to be converted in a second."""
    torch.manual_seed(0)
    body = (
        nn.Conv2d(3, 8, 3, 2, 1),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        create_gate("se", 8, reduction=4),
    )
    head = (nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6))
    return nn.Sequential(*body, *head).eval()


@pytest.fixture(scope="module")
def plain():
    """The same without its gate."""
    torch.manual_seed(0)
    body = (nn.Conv2d(3, 8, 3, 2, 1), nn.BatchNorm2d(8), nn.ReLU())
    return nn.Sequential(*body, nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 6)).eval()


def difference(got, expected):
    return float((got - expected).norm() / expected.norm())


@pytest.mark.parametrize(
    ("name", "dtype"),
    [
        ("eager", "float32"),
        ("eager", "bfloat16"),
        ("onnxruntime", "float32"),
        ("openvino", "float32"),
        ("openvino", "int8"),
        pytest.param("compile", "float32", marks=pytest.mark.slow),
    ],
)
def test_an_engine_is_the_eager_network(gated, name, dtype):
    before = {key: value.clone() for key, value in gated.state_dict().items()}
    engine = open_engine(name, gated, X, dtype=dtype, threads=1)
    y = engine(X)
    with torch.no_grad():
        assert y.dtype == torch.float32
        assert difference(y, gated(X)) <= LOOSE[dtype]
        assert (difference(y, gated(X)) < 1e-6) == (dtype == "float32")  # it does round
    assert engine.notes["engine"].startswith(("torch", name))
    for key, value in gated.state_dict().items():
        assert torch.equal(value, before[key])


@pytest.mark.parametrize(("batch", "parts"), [(4, 2), (6, 3), (3, 3)])
def test_parts_give_each_image_its_own_output(gated, batch, parts):
    x = torch.randn(batch, 3, 32, 32, generator=torch.Generator().manual_seed(2))
    engine = open_engine("openvino", gated, x, threads=2, parts=parts)
    assert engine.notes["engine"].endswith(f", {parts} parts")
    with torch.no_grad():
        for images in (x, x.flip(0)):
            assert difference(engine(images), gated(images)) < 1e-4


@pytest.mark.parametrize(
    ("name", "parts", "sentence"),
    [
        ("openvino", 3, "parts=3 does not cut a batch of 2 into equal parts; use a divisor of 2"),
        ("openvino", 0, "parts=0 does not cut a batch of 2"),
        ("onnxruntime", 2, "engine 'onnxruntime' runs a batch as one; --parts is for openvino"),
    ],
)
def test_parts_that_do_not_fit(plain, name, parts, sentence):
    with pytest.raises(InputError, match=sentence):
        open_engine(name, plain, X, parts=parts)


def test_an_engine_config_knows_parts(plain, gated):
    with pytest.raises(InputError, match="engine 'eager' runs a batch as one"):
        EngineConfig(parts=2)
    report = EngineConfig("openvino", threads=2, parts=2).compare(
        {"a": plain, "b": gated}, X, seconds=0.2, warmup_s=0.01
    )
    assert report.environment["engine"].endswith("2 parts")


def test_bfloat16_in_openvino_or_a_sentence(plain):
    import openvino

    if "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES"):
        y = open_engine("openvino", plain, X, dtype="bfloat16")(X)
        assert 1e-5 < difference(y, plain(X).detach()) < LOOSE["bfloat16"]
    else:
        with pytest.raises(InputError, match="no bfloat16 on this processor"):
            open_engine("openvino", plain, X, dtype="bfloat16")


def test_a_processor_without_float16_is_refused_in_words():
    from convgate.deploy.openvino import check_capable

    class Core:
        def get_property(self, *_):
            return ["FP32", "INT8", "BF16"]

    check_capable(Core(), "bfloat16")
    with pytest.raises(InputError, match="no float16 on this processor; choose from float32, bf"):
        check_capable(Core(), "float16")


@pytest.mark.parametrize(
    ("name", "dtype", "sentence"),
    [
        ("openvno", "float32", "unknown engine 'openvno'; did you mean 'openvino'?"),
        ("eager", "float23", "unknown dtype 'float23'"),
        ("onnxruntime", "bfloat16", "engine 'onnxruntime' has no bfloat16 here"),
        ("compile", "int8", "engine 'compile' has no int8 here; choose from float32"),
    ],
)
def test_words_that_do_not_fit(name, dtype, sentence):
    with pytest.raises(InputError) as caught:
        check_engine(name, dtype)
    assert sentence in str(caught.value)


@pytest.mark.parametrize(("name", "extra"), [("onnxruntime", "onnx"), ("openvino", "openvino")])
def test_a_missing_package_names_its_extra(name, extra, monkeypatch):
    monkeypatch.setitem(sys.modules, name, None)
    with pytest.raises(InputError, match=rf"pip install 'convgate\[{extra}\]'"):
        check_engine(name, "float32")


def test_a_wrong_engine_is_never_handed_out(plain, monkeypatch):
    wrong = replace(RUNTIMES["eager"], run=lambda graph, *_: lambda x: graph(x) * 1.01)
    monkeypatch.setitem(RUNTIMES, "eager", wrong)
    with pytest.raises(InputError, match=r"differs from the reference by 0.01"):
        open_engine("eager", plain, X)


def test_images_below_the_stride_are_one_sentence():
    model = nn.Sequential(nn.Conv2d(3, 4, 4, 4), nn.Conv2d(4, 4, 2, 2), nn.Flatten())
    with pytest.raises(InputError, match=r"does not take images of 3 x 6 x 6 \(.*give its own"):
        open_engine("eager", model, torch.randn(1, 3, 6, 6))


def test_candidates_are_timed_on_the_engine(plain, gated):
    config = EngineConfig("onnxruntime", "float32", threads=1)
    report = config.compare({"plain": plain, "se": gated}, X[:1], rounds=3, warmup_s=0.01)
    assert [row.name for row in report.rows] == ["plain", "se"]
    assert report.environment["engine"].startswith("onnxruntime ")
    assert report.environment["dtype"] == "float32"


def test_what_an_engine_cannot_be_asked():
    with pytest.raises(InputError, match="lays out channels itself"):
        EngineConfig("openvino", channels_last=True)
    with pytest.raises(InputError, match="for --engine compile"):
        EngineConfig("eager", compile_mode="max-autotune")


def test_the_dtypes_of_every_engine_are_known_words():
    assert {word for each in RUNTIMES.values() for word in each.dtypes} == set(LOOSE)
