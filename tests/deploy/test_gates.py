"""Every gate in every kind of network goes into both runtimes, or it is known why not."""

import copy

import pytest
import timm
import torch
import torchvision

import convgate.models  # noqa: F401  registers the names in timm
from convgate.deploy.export import fold_if_it_can
from convgate.deploy.onnx import run_onnx, to_onnx
from convgate.deploy.openvino import from_onnx, run_openvino
from convgate.deploy.verify import check_deterministic, inputs_to_compare, verify
from convgate.errors import InputError
from convgate.gates import list_gates
from convgate.insertion import insert

SMALL = {"depths": (1, 1, 1, 1), "dims": (16, 32, 64, 128)}
NETWORKS = {
    "resnet50": ("block_end", lambda: timm.create_model("resnet50", layers=[1, 1, 1, 1])),
    "mobilenet_v2": (
        "spatial",
        lambda: timm.create_model("mobilenetv2_100", depth_multiplier=0.5),  # 11 blocks of 17
    ),
    "mobilenet_v3": ("spatial", lambda: torchvision.models.mobilenet_v3_small()),
    "convnext": ("hidden", lambda: timm.create_model("convnext_atto", **SMALL)),
    "selnext": ("block_end", lambda: timm.create_model("selnext_atto", **SMALL)),
}
SMALLEST = {"resnet8": ("block_end", lambda: timm.create_model("resnet8"))}
OPTIONS = {
    "sa": {"groups": 4},
    "sge": {"groups": 8},
    "fca": {"frequencies": 8},
    **{name: {"num_groups": 8} for name in ("ela", "ela_t", "ela_b", "ela_s", "ela_l")},
}
"""For widths that are multiples of 8 and no more; all other gates take them as they are."""
RANDOM = {"pdfam_gmm"}
"""Gates that draw random numbers at every pass, in evaluation too."""


def gated(network, gate, stages):
    at, build = (NETWORKS | SMALLEST)[network]
    torch.manual_seed(0)
    model = build()
    insert(model, gate, at=at, start="paper", stages=stages, **OPTIONS.get(gate, {}))
    for name, parameter in model.named_parameters():
        if parameter.ndim == 1 and not name.endswith("bias"):
            torch.nn.init.uniform_(parameter, 0.5, 1.5)
    return model.eval()


def check(network, gate, stages=None):
    model, x = gated(network, gate, stages), torch.randn(3, 3, 64, 64)
    if gate in RANDOM:
        with pytest.raises(InputError, match="draws random numbers"):
            check_deterministic(gate, model, x[:1])
        return
    check_deterministic(gate, model, x[:1])
    form, _ = fold_if_it_can(copy.deepcopy(model), x[:1])
    graph = to_onnx(gate, form, x[:2], fixed_size=False, fixed_batch=False)
    in_openvino = run_openvino(from_onnx(gate, graph), "float32", 1)
    for run in (run_onnx(graph.SerializeToString(), 1), in_openvino):
        verify(gate, run, model, inputs_to_compare(x, fixed_size=False), torch.float32)


DIAGONAL = [
    ("resnet8", "fca"),  # adaptive pools
    ("selnext", "sge"),  # arithmetic on sizes
]


@pytest.mark.parametrize(("network", "gate"), DIAGONAL)
def test_gates_whose_operators_need_care(network, gate):
    check(network, gate, stages=(2,))


@pytest.mark.slow
@pytest.mark.timeout(900)  # ten seconds on an idle machine, most of them torch's tracing of sizes
@pytest.mark.parametrize("gate", list_gates())
@pytest.mark.parametrize("network", list(NETWORKS))
def test_every_gate_in_every_network(network, gate):
    check(network, gate)
