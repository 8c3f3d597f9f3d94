"""The package as a whole: its public names, what importing it costs, how large a file may be."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import convgate

SOURCE = Path(convgate.__file__).parent
# Every other file: 300, an `__init__`: 60; that of the package lists its names twice, for editors.
LINES = {"gates": 120, "models": 250, "cli": 200}


def limit(file: Path) -> int:
    if file.name == "__init__.py":
        return 90 if file.parent == SOURCE else 60
    return LINES.get(file.relative_to(SOURCE).parts[0], 300)


DOCUMENTED = {
    *("create_model", "create_gate", "list_gates", "list_sites", "insert", "replace", "remove"),
    *("fold", "compare_latency", "count", "fit", "evaluate", "predict", "run_study", "export"),
    "open_network",
}


def test_public_names_are_sorted_few_and_there():
    assert sorted(convgate.__all__) == convgate.__all__
    assert set(convgate.__all__) >= DOCUMENTED and len(convgate.__all__) <= 24
    assert set(convgate.__all__) <= set(dir(convgate))
    for name in convgate.__all__:
        assert getattr(convgate, name).__module__.startswith("convgate.")


def test_what_is_loaded_lazily_is_what_editors_see():
    """The imports for type checkers name the same homes as the table of lazy names."""
    tree = ast.parse((SOURCE / "__init__.py").read_text())
    found = {
        alias.name: node.module.removeprefix("convgate.")
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module.startswith("convgate.")
        for alias in node.names
    }
    assert found == convgate._HOME and set(found) == set(convgate.__all__)


def test_no_public_name_hides_a_package():
    packages = {path.name for path in SOURCE.iterdir() if (path / "__init__.py").exists()}
    assert not packages & set(convgate.__all__)


def test_an_unknown_public_name_is_an_attribute_error():
    with pytest.raises(AttributeError, match="gatee"):
        _ = convgate.gatee


def test_the_package_loads_no_torch_and_the_core_nothing_heavier():
    heavy = ["timm", "torchvision", "lightning", "optuna", "altair", "matplotlib", "sklearn"]
    core = "import convgate.gates, convgate.insertion, convgate.kernels, convgate.measure"
    code = (
        f"import convgate, sys; print('torch' in sys.modules); {core}; "
        f"print([m for m in {heavy} if m in sys.modules])"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert ran.stdout.split() == ["False", "[]"]


def test_the_files_are_not_too_many_to_know():
    assert len(list(SOURCE.rglob("*.py"))) <= 282


def test_a_class_name_names_one_thing():
    names = [
        node.name
        for file in SOURCE.rglob("*.py")
        for node in ast.parse(file.read_text()).body
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_")
    ]
    assert sorted(name for name in set(names) if names.count(name) > 1) == []


@pytest.mark.parametrize("file", sorted(SOURCE.rglob("*.py")), ids=lambda f: str(f.name))
def test_a_file_is_one_idea_on_few_screens(file):
    assert len(file.read_text().splitlines()) <= limit(file)
