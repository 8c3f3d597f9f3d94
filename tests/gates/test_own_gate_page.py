"""The page about a gate of one's own: its package, its commands and what it says of files."""

import json
import re
import sys
import tomllib
from importlib import metadata
from pathlib import Path

import pytest
import torch
from typer.testing import CliRunner

import convgate
import convgate.cli
from convgate.cli.main import app
from convgate.deploy.predict import open_predictor
from convgate.errors import InputError
from convgate.folding import fold, folded
from convgate.gates import GATES, create_gate, list_gates
from convgate.networks import load_hub, open_network, save_hub
from convgate.studies.plan import check_variants, make_plan

PAGE = Path(__file__).parents[2] / "docs/own_gate.md"
NAME = "full_gates:Var3"
X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


@pytest.fixture
def folder(tmp_path, monkeypatch):
    """The page's package as files in the current folder, which Python does not search."""
    text = PAGE.read_text()
    code = re.search(r"```python\n(.+?)```", text, re.DOTALL)[1]
    (tmp_path / "full_gates.py").write_text(code)
    (tmp_path / "pyproject.toml").write_text(re.search(r"```toml\n(.+?)```", text, re.DOTALL)[1])
    monkeypatch.chdir(tmp_path)
    here = {"", str(Path.cwd()), str(PAGE.parents[1])}
    monkeypatch.setattr(sys, "path", [place for place in sys.path if place not in here])
    monkeypatch.setattr(GATES, "_entries", dict(GATES._entries))
    yield tmp_path
    sys.modules.pop("full_gates", None)


@pytest.fixture
def imported(folder, monkeypatch):
    monkeypatch.syspath_prepend(folder)


def forget():
    """Stand for another process, which has not imported the gate."""
    del sys.modules["full_gates"]
    del GATES._entries[NAME]


def run(*words):
    return CliRunner().invoke(app, list(map(str, words)))


def test_the_equation(imported):
    gate = create_gate(NAME, 5, bias=True).double()
    x = torch.randn(2, 5, 4, 3).double()
    layer = gate.mix
    for image, y in zip(x, gate(x), strict=True):
        means = image.sum((1, 2)) / 12
        scale = 1 / (1 + torch.exp(-(layer.weight @ means + layer.bias)))
        torch.testing.assert_close(y, scale[:, None, None] * image)


def test_the_command_line_takes_it_from_the_current_folder(folder):
    out = folder / "gated.safetensors"
    words = ("insert", "resnet8", "--gate", NAME, "--set", "bias=true", "--out", out)
    made = run(*words, "--json")
    assert made.exit_code == 0, made.output
    # Three blocks with 16, 32 and 64 channels: a square layer with a bias and a number to blend in.
    said = json.loads(made.stdout)
    assert [row["params"] for row in said["rows"]] == [n * n + n + 1 for n in (16, 32, 64)]
    assert said["unchanged"]
    measured = run("measure", "resnet8", "--gate", f"eca,{NAME}", "--seconds", "0.1", "--json")
    assert list(json.loads(measured.stdout)["models"]) == [
        "resnet8",
        "resnet8 + eca",
        f"resnet8 + {NAME}",
    ]


def test_a_file_opens_only_where_its_gate_was_named(folder):
    out = folder / "gated.safetensors"
    assert run("insert", "resnet8", "--gate", NAME, "--out", out).exit_code == 0
    forget()
    words = ("measure", out, "--seconds", "0.1")
    refused = run(*words)
    assert refused.exit_code == 2
    assert "a file may not import" in refused.stderr
    assert "`convgate --gate-module full_gates ...`" in refused.stderr
    assert "full_gates" not in sys.modules
    allowed = run("--gate-module", "full_gates", *words)
    assert allowed.exit_code == 0, allowed.output
    broken = run("--gate-module", "no_such", *words)
    assert broken.exit_code == 2 and "--gate-module no_such: cannot be imported" in broken.stderr


def test_hub_folders_and_recipes_do_not_import_it(imported, tmp_path):
    model = convgate.create_model("resnet8", num_classes=4).eval()
    convgate.insert(model, NAME, start="paper")
    card = open_network("resnet8").card
    about = convgate.networks.Card(
        model="resnet8",
        options={"num_classes": 4},
        gates=convgate.networks.gates_of(model),
        images=card.images,
    )
    save_hub(model, about, tmp_path / "hub")
    assert torch.equal(load_hub(tmp_path / "hub")[0](X), model(X))
    recipe = tmp_path / "own.toml"
    shipped = Path(convgate.__file__).parent / "recipes/digits/demo.toml"
    text = re.sub(r"\[study\].*", "", shipped.read_text(), flags=re.DOTALL)
    recipe.write_text(re.sub(r"\[gate\][^\[]*", "", text) + f'\n[gate]\nname = "{NAME}"\n')
    forget()
    with pytest.raises(InputError, match="a file may not import"):
        load_hub(tmp_path / "hub")
    with pytest.raises(InputError, match="a file may not import"):
        convgate.fit(convgate.load_recipe(recipe), tmp_path / "run")
    assert not (tmp_path / "run").exists() and "full_gates" not in sys.modules


def test_a_study_compares_it(imported):
    plan = make_plan("digits/demo", {"gates": ["se", NAME]})
    check_variants(plan.recipe, plan.networks)
    assert [variant.gate for variant in plan.networks] == ["none", "se", NAME]


def test_it_is_folded_as_ours_are(imported):
    """Every place where SE of the same width is folded; so is the squeeze into its first layer."""
    reports = []
    for gate, options in (("se", {"reduction": 1}), (NAME, {})):
        model = convgate.create_model("resnet26", num_classes=4).eval().double()
        convgate.insert(model, gate, start="paper", **options)
        made = fold(model, X.double())
        torch.testing.assert_close(made(X.double()), model(X.double()))
        reports.append(folded(made))
    ours, own = reports
    assert [(f.path, f.identity) for f in own.folds] == [(f.path, f.identity) for f in ours.folds]
    identities = {f.identity for f in own.folds}
    assert {
        "squeeze before the 1x1 convolution",
        "1x1 convolution into the gate's first layer",
    } <= (identities)


def test_an_exported_file_needs_it_no_more(imported, tmp_path):
    gated = tmp_path / "gated.safetensors"
    assert (
        run("insert", "resnet8", "--gate", NAME, "--start", "paper", "--out", gated).exit_code == 0
    )
    convgate.export(gated, "onnx", tmp_path / "net.onnx")
    forget()
    assert open_predictor(tmp_path / "net.onnx").card.gates[0].name == NAME
    assert "full_gates" not in sys.modules


def test_the_package_offers_its_short_name(imported, folder):
    """What an installer writes of the page's pyproject.toml: its entry points."""
    project = tomllib.loads((folder / "pyproject.toml").read_text())["project"]
    info = folder / f"full_gates-{project['version']}.dist-info"
    info.mkdir()
    head = f"Metadata-Version: 2.1\nName: {project['name']}\nVersion: {project['version']}\n"
    (info / "METADATA").write_text(head)
    ((group, points),) = project["entry-points"].items()
    lines = [f"[{group}]", *(f"{name} = {value}" for name, value in points.items())]
    (info / "entry_points.txt").write_text("\n".join(lines))
    assert metadata.version("full-gates") == "0.1"
    assert "var3" in list_gates()
    assert type(create_gate("var3", 8)).__name__ == "Var3"
    row = next(r for r in json.loads(run("ls", "gates", "--json").stdout) if r["gate"] == "var3")
    assert (row["parameters"], row["options"]) == (256 * 256, {"bias": False})
