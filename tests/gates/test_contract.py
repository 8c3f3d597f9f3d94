"""What every registered gate promises, whatever its mathematics."""

import io
from copy import deepcopy
from functools import reduce

import pytest
import torch
from torch import nn
from torch.export import Dim

from convgate.errors import InputError
from convgate.gates import GATES, Gate, PooledGate, create_gate, list_gates
from convgate.insertion import start_as_identity

CHANNELS = 128  # the smallest count that every gate takes with its default options
SIZES = [(1, 1), (1, 6), (6, 1), (5, 3), (4, 9)]
TOLERANCE = {
    torch.float64: 1e-12,
    torch.float32: 1e-5,
    torch.float16: 2e-3,
    torch.bfloat16: 2e-2,
}
every_gate = pytest.mark.parametrize("name", list_gates())

# A bias in front of a batch norm in training moves nothing: its gradient is zero but for rounding.
BEFORE_BATCH_NORM = {
    "bam": {"squeeze.bias", "spatial.0.0.bias", "spatial.1.0.bias", "spatial.2.0.bias"},
    "ca": {"squeeze.bias"},
}

# A convolution over all channels of x itself overflows float16 as any layer of the network would.
CONVOLVES_X = {"bam"}


def build(name: str) -> Gate:
    """Build a gate with noise on every parameter, so that no zero at the start hides anything."""
    torch.manual_seed(0)
    gate = create_gate(name, CHANNELS)
    with torch.no_grad():
        for parameter in gate.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return gate


def sample(*size: int, dtype: torch.dtype = torch.float32, batch: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(1)
    return torch.randn(batch, CHANNELS, *(size or (6, 5)), generator=generator).to(dtype)


def run(function, *arguments):
    """Call with the same random draws each time (one gate draws at every forward)."""
    torch.manual_seed(2)
    return function(*arguments)


def assert_close(actual, expected, dtype=torch.float32):
    tolerance = TOLERANCE[dtype]
    torch.testing.assert_close(actual, expected, rtol=tolerance, atol=tolerance, check_dtype=False)


@every_gate
def test_shape_dtype_and_broadcast(name):
    for dtype in (torch.float32, torch.float64):
        gate, x = build(name).to(dtype), sample(dtype=dtype)
        y, scale = run(gate, x), run(gate.gate, x)
        assert y.shape == x.shape
        assert y.dtype == dtype
        assert torch.broadcast_shapes(scale.shape, x.shape) == x.shape


@every_gate
def test_forward_is_the_scale_times_x(name):
    gate, x = build(name), sample()
    if not gate.is_product:
        assert type(gate).forward is not Gate.forward
        return
    assert_close(run(gate, x), run(gate.gate, x) * x)


@every_gate
@pytest.mark.parametrize("training", [True, False])
def test_gradients_are_finite(name, training):
    gate, x = build(name).train(training), sample().requires_grad_()
    run(gate, x).square().sum().backward()
    assert x.grad.isfinite().all()
    for key, parameter in gate.named_parameters():
        assert parameter.grad is not None, key
        assert parameter.grad.isfinite().all(), key


@every_gate
def test_channels_last(name):
    gate, x = build(name), sample()
    y = run(gate, x.to(memory_format=torch.channels_last))
    assert_close(y, run(gate, x))
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert run(gate, x).is_contiguous()


@every_gate
def test_strided_views(name):
    gate, wide = build(name), sample(6, 10)
    view = wide[:, :, :, ::2]
    assert_close(run(gate, view), run(gate, view.contiguous()))


@every_gate
@pytest.mark.parametrize("size", SIZES)
def test_any_height_and_width(name, size):
    gate, x = build(name), sample(*size).requires_grad_()
    y = run(gate, x)
    assert y.shape == x.shape
    y.square().sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()


@every_gate
@pytest.mark.parametrize("size", SIZES)
def test_a_single_sample_in_evaluation(name, size):
    assert run(build(name).eval(), sample(*size)[:1]).isfinite().all()


@every_gate
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
@pytest.mark.parametrize("training", [True, False])
def test_half_precision(name, dtype, training):
    """The whole gate in half precision, against float32 with the same rounded numbers.

    Eight samples: a batch norm over two divides by the difference of two rounded numbers.
    """
    gate, x = build(name).train(training).to(dtype), sample(dtype=dtype, batch=8)
    wanted = run(deepcopy(gate).float(), x.float())
    y = run(gate, x)
    assert y.dtype == dtype
    assert_close(y.float(), wanted, dtype)


@every_gate
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_autocast(name, dtype):
    gate, x = build(name), sample(dtype=dtype).requires_grad_()
    with torch.autocast("cpu", torch.bfloat16):
        y = run(gate, x)
    assert y.dtype == dtype
    assert_close(y.float(), run(gate, x.detach().float()), torch.bfloat16)
    y.float().sum().backward()
    assert x.grad.dtype == dtype


EXTREMES = {
    "zeros": lambda shape: torch.zeros(shape),
    "ones": lambda shape: torch.ones(shape),
    "constant 1e4": lambda shape: torch.full(shape, 1e4),
    "constant -1e4": lambda shape: torch.full(shape, -1e4),
    "+-1e4": lambda shape: 1e4 * torch.randn(shape).sign(),
    "tiny": lambda shape: 1e-20 * torch.randn(shape),
    "one spike": lambda shape: torch.zeros(shape).index_fill(3, torch.tensor(0), 1e4),
}


@every_gate
@pytest.mark.parametrize("kind", EXTREMES)
@pytest.mark.parametrize("fresh", [True, False])
def test_finite_at_extremes(name, kind, fresh):
    gate = create_gate(name, CHANNELS) if fresh else build(name)
    x = EXTREMES[kind]((2, CHANNELS, 4, 3)).requires_grad_()
    y = run(gate, x)
    y.sum().backward()
    assert y.isfinite().all()
    assert x.grad.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in gate.parameters())


@pytest.mark.parametrize("name", [n for n in list_gates() if n not in CONVOLVES_X])
def test_scale_is_finite_near_the_end_of_float16(name):
    """65,504 is the largest float16: sums and squares of 60,000 only fit a wider accumulator."""
    gate = create_gate(name, CHANNELS).half()
    x = (6e4 * sample(4, 3).sign()).half()
    assert run(gate.gate, x).isfinite().all()


@pytest.mark.filterwarnings("ignore:The given buffer is not writable")  # torch 2.11's loader
@every_gate
def test_export(name):
    """Exported at one size, stored, loaded, and run at another batch, height and width."""
    gate, stored = build(name).eval(), io.BytesIO()
    dynamic = {0: Dim.AUTO, 2: Dim.AUTO, 3: Dim.AUTO}
    torch.export.save(torch.export.export(gate, (sample(),), dynamic_shapes=(dynamic,)), stored)
    stored.seek(0)
    loaded, x = torch.export.load(stored).module(), sample(9, 4, batch=3)
    assert_close(run(loaded, x), run(gate, x))


@every_gate
def test_compile_in_one_graph(name):
    torch.compiler.reset()
    gate, x = build(name), sample()
    compiled = torch.compile(gate, fullgraph=True, backend="aot_eager")
    assert_close(run(compiled, x), run(gate, x))


@every_gate
def test_copies_and_stored_weights(name, tmp_path):
    gate, x = build(name).eval(), sample()
    y = run(gate, x)
    assert torch.equal(run(deepcopy(gate), x), y)
    torch.save(gate.state_dict(), tmp_path / "gate.pt")
    other = create_gate(name, CHANNELS).eval()
    other.load_state_dict(torch.load(tmp_path / "gate.pt", weights_only=True), strict=True)
    assert torch.equal(run(other, x), y)


@every_gate
@pytest.mark.parametrize("training", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_inserted_gate_starts_as_the_identity(name, training, dtype):
    gate = start_as_identity(create_gate(name, CHANNELS)).train(training).to(dtype)
    for size in [(6, 6), (1, 1)]:
        x = sample(*size, dtype=dtype)
        assert torch.equal(run(gate, x), x)


def learn(gate: nn.Module, steps: int) -> dict[str, float]:
    """Take SGD steps; return each parameter's largest gradient, NaN where it had none."""
    largest = dict.fromkeys(dict(gate.named_parameters()), 0.0)
    optimiser = torch.optim.SGD(gate.parameters(), lr=0.1)
    x = sample()
    for step in range(steps):
        target = torch.randn(x.shape, generator=torch.Generator().manual_seed(step))
        optimiser.zero_grad()
        (run(gate, x) * target).mean().mul(100).backward()
        for key, parameter in gate.named_parameters():
            gradient = torch.nan if parameter.grad is None else parameter.grad.abs().max().item()
            largest[key] = max(largest[key], gradient) if gradient == gradient else gradient
        optimiser.step()
    return largest


@every_gate
def test_every_parameter_learns_from_the_identity(name):
    gate = start_as_identity(create_gate(name, CHANNELS))
    exempt = {f"gate.{key}" for key in BEFORE_BATCH_NORM.get(name, ())}
    for key, gradient in learn(gate, steps=3).items():
        assert gradient > 0 or (key in exempt and gradient == gradient), key


@every_gate
def test_unknown_option_is_named_with_the_nearest(name):
    options = list(GATES.options(name))
    wrong, way_out = (
        (options[0] + "x", f"did you mean '{options[0]}'") if options else ("x", "none")
    )
    with pytest.raises(InputError, match=rf"{name}: unknown option '{wrong}'.*{way_out}"):
        create_gate(name, CHANNELS, **{wrong: 1})


def test_unknown_gate_is_named_with_the_nearest():
    with pytest.raises(InputError, match="unknown gate 'selm'; did you mean 'seln'"):
        create_gate("selm", CHANNELS)


@every_gate
def test_no_channels(name):
    with pytest.raises(InputError, match="channels=0 must be 1 or more"):
        create_gate(name, 0)


@pytest.mark.parametrize(
    ("name", "channels", "way_out"),
    [
        ("ean", 20, "use groups=5 or groups=10"),
        ("ean_code", 4, "use groups=4"),
        ("ela", 24, "use num_groups=12 or num_groups=24"),
        ("ela_b", 40, "use num_groups=10 or num_groups=20"),
        ("ela_l", 24, "use num_groups=12 or num_groups=24"),
        ("ela_s", 8, "use num_groups=8"),
        ("ela_t", 144, "use num_groups=24 or num_groups=36"),
        ("fca", 24, "use frequencies=12 or frequencies=24"),
        ("sa", 96, "use groups="),
        ("seln", 8, "use reduction <= 8"),
        ("sge", 96, "use groups=48 or groups=96"),
    ],
)
def test_channels_that_do_not_fit_name_the_way_out(name, channels, way_out):
    with pytest.raises(InputError, match=f"channels={channels} .*{way_out}"):
        create_gate(name, channels)


@every_gate
def test_docstring_names_shape_source_and_every_option(name):
    text = vars(GATES.factory(name))["__doc__"]
    for label in ("Shape: x (N, C, H, W) -> y (N, C, H, W)", "Source:", "Args:", "channels:"):
        assert label in text
    for option in GATES.options(name):
        assert f"        {option}: " in text


@every_gate
@pytest.mark.parametrize("size", [(1, 1), (5, 3), (9, 8)])
def test_pooling_exchanges_with_a_1x1_convolution(name, size):
    """What a `PooledGate` claims: pool(W h + b) = W pool(h) + b, and that the scale follows."""
    gate = build(name).double().eval()
    if not isinstance(gate, PooledGate):
        return
    h, conv = torch.randn(2, 7, *size).double(), nn.Conv2d(7, CHANNELS, 1).double()
    with torch.no_grad():
        pooled = [conv(z) for z in gate.pool(h)]
        assert_close(pooled, list(gate.pool(conv(h))), torch.float64)
        product = reduce(torch.mul, gate.scales(*pooled))
        assert_close(product, gate.gate(conv(h)), torch.float64)
