"""A gate of other code: found by "module:Class" and by entry points, never imported by a file."""

import sys
import textwrap

import pytest
import torch

from convgate.errors import InputError
from convgate.gates import GATES, create_gate, list_gates
from convgate.models import create_model

CODE = """
import torch
from convgate import Gate

class Mean(Gate):
    '''Scales by a number.'''
    def __init__(self, channels, *, factor=1.0):
        super().__init__(channels)
        self.factor = factor
    def gate(self, x):
        return torch.full_like(x[:1, :1, :1, :1], self.factor)

class Layer(torch.nn.Module):
    pass
"""


@pytest.fixture
def write(tmp_path, monkeypatch):
    """Write modules and packages that Python finds, and forget them afterwards."""
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(GATES, "_entries", dict(GATES._entries))
    before = set(sys.modules)

    def module(name, text=CODE):
        (tmp_path / f"{name}.py").write_text(textwrap.dedent(text))

    def package(name, **points):
        info = tmp_path / f"{name}-1.0.dist-info"
        info.mkdir()
        (info / "METADATA").write_text(f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        lines = [f"{point} = {value}" for point, value in points.items()]
        text = "\n".join(["[convgate.gates]", *lines])
        (info / "entry_points.txt").write_text(f"{text}\n")

    module.package = package
    yield module
    for name in set(sys.modules) - before:
        if getattr(sys.modules[name], "__file__", None) in map(str, tmp_path.glob("*.py")):
            del sys.modules[name]


def test_a_class_by_its_module(write):
    write("own")
    gate = create_gate("own:Mean", 4, factor=3.0)
    x = torch.randn(2, 4, 3, 3)
    assert type(gate).__module__ == "own"
    assert torch.equal(gate(x), 3 * x)
    assert GATES.options("own:Mean") == {"factor": 1.0}
    assert "own:Mean" in GATES
    with pytest.raises(InputError, match="own:Mean: unknown option 'facter'; did you mean 'factor"):
        create_gate("own:Mean", 4, facter=1)


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("own:Maen", "'own:Maen' is no class that derives from convgate.Gate; did you mean 'Mean'"),
        ("own:Layer", r"'own:Layer' is no class that derives from convgate\.Gate"),
        ("json:loads", r"'json:loads' is no class that derives from convgate\.Gate$"),
        ("own.py:Mean", "without a folder and '.py': 'my_gates:MyGate'"),
        ("nothing:Mean", r"nothing cannot be imported \(ModuleNotFoundError: No module named"),
        ("broken:Mean", r"broken cannot be imported \(RuntimeError: no luck\)"),
        ("own:", r"'own:' is no class"),
        (":Mean", r"':Mean'.* cannot be imported"),
    ],
)
def test_what_is_no_gate_is_one_sentence(write, name, sentence):
    write("own")
    write("broken", "raise RuntimeError('no luck')")
    with pytest.raises(InputError, match=sentence):
        create_gate(name, 4)


def test_only_a_call_imports(write):
    """The registry itself, and a network's option, find what is imported and nothing else."""
    write("own")
    for ask in (
        lambda: GATES.create("own:Mean", 4),
        lambda: GATES.check("own:Mean"),
        lambda: create_model("selnext_atto", gate="own:Mean"),
    ):
        with pytest.raises(InputError, match=r"which a file may not import.*--gate-module own"):
            ask()
    assert "own:Mean" not in GATES and "own" not in sys.modules
    __import__("own")
    assert GATES.create("own:Mean", 4, factor=2.0).factor == 2.0


def test_packages_offer_gates(write):
    write("own")
    write.package("own-gates", scale="own:Mean")
    assert "scale" in list_gates() and len(GATES) == len(list_gates())
    assert "own" not in sys.modules  # a list of names imports nothing
    assert create_gate("scale", 4, factor=2.0).factor == 2.0
    with pytest.raises(InputError, match="unknown gate 'scalee'; did you mean 'scale'"):
        create_gate("scalee", 4)


def test_a_package_cannot_take_a_name_of_ours(write):
    write("own")
    write.package("own-gates", se="own:Mean")
    assert type(create_gate("se", 16)).__module__ == "convgate.gates.se"
    with pytest.warns(UserWarning, match="own gate 'se' hides that of the package own-gates"):
        list_gates()


def test_packages_that_cannot_be_used_are_named(write):
    write("own")
    write.package("first", scale="own:Mean", gone="gone:Mean")
    write.package("second", scale="own:Layer", layer="own:Layer")
    with pytest.raises(InputError, match=r"the packages .* both offer a gate 'scale'; remove one"):
        create_gate("scale", 4)
    with pytest.raises(InputError, match="'gone' of the package first cannot be imported"):
        create_gate("gone", 4)
    with pytest.raises(InputError, match="'layer' is no class that derives"):
        create_gate("layer", 4)
    assert {"scale", "gone", "layer"} <= set(list_gates())
