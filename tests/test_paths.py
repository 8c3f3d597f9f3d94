"""The ways through the package that docs/layout.md describes stay short.

A file counts when one of its functions is entered; modules are loaded before.
"""

import builtins
import io
import sys
from contextlib import contextmanager
from pathlib import Path

import pytest
import safetensors
import safetensors.torch
import torch
from PIL import Image

from convgate import evaluate, load_recipe, predict, run_study, spec
from convgate.gates import SELN
from convgate.storage import WEIGHTS
from convgate.studies import Steps
from convgate.train.fit import fit
from convgate.train.recipe import Recipe, override
from fixtures.fake_study import fake_fit, fake_measure

SOURCE = Path(sys.modules["convgate"].__file__).parent
MAX_FILES = 20
SHORT = ("schedule.epochs=1", "data.train_count=100", "data.workers=0")
GATE = {
    "registry.py", "insertion/attach.py", "insertion/hooks.py", "insertion/keep.py",
    "insertion/module_tree.py", "gates/base.py", "gates/pooled.py", "gates/seln.py",
    "kernels/float16.py",
}  # fmt: skip
"""What a gate is, and how it is built and put where the card says."""


def path_of(code):
    """Return the file of a function below the package; nothing for one of elsewhere."""
    file = Path(code.co_filename)
    return str(file.relative_to(SOURCE)) if file.is_relative_to(SOURCE) else ""


def carries(arguments, word):
    """Tell whether a function is handed a word: by itself, or in a recipe or a list."""
    values = (value for value in arguments.values() if not isinstance(value, torch.nn.Module))
    return any(repr(word) in repr(value) for value in values)


@contextmanager
def followed(end=None, word=""):
    """Give the files in the order in which they are entered, until the function ``end`` begins.

    With a ``word``: of those alone whose functions are handed it, itself or in a recipe or a list.
    """
    files, seen, before = [], set(), sys.getprofile()

    def enter(frame, event, _):
        code = frame.f_code
        file = path_of(code) if event == "call" and code not in seen else ""
        if not file or (word and code is not end and not carries(frame.f_locals, word)):
            return
        seen.add(code)
        if file not in files:
            files.append(file)
        if code is end:
            sys.setprofile(before)

    sys.setprofile(enter)
    try:
        yield files
    finally:
        sys.setprofile(before)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Give a plain run, a gated one, and a picture."""
    folder = tmp_path_factory.mktemp("way")
    recipe = override(load_recipe("digits/demo"), *SHORT)
    fit(recipe, folder / "plain", progress=False)
    fit(override(recipe, "gate.name=seln"), folder / "gated", progress=False)
    Image.new("L", (16, 16), 90).save(folder / "photo.png")
    return folder


def way_of_a_picture(run, picture):
    predict(run, picture)  # loads what is loaded late
    with followed() as files:
        (found,) = predict(run, picture)
    assert found.classes
    return files


def test_a_picture_is_answered_by_few_files(runs):
    """Of a plain network; one with gates enters, beside these, only what a gate is made of."""
    plain = way_of_a_picture(runs / "plain", runs / "photo.png")
    assert {"deploy/predict.py", "networks/opening.py", "networks/preprocessing.py"} <= {*plain}
    assert len(plain) <= MAX_FILES, plain
    gated = way_of_a_picture(runs / "gated", runs / "photo.png")
    assert {*gated} - {*plain} == GATE


@pytest.mark.parametrize(
    "answer", [lambda run, photo: predict(run, photo), lambda run, _: evaluate(run)]
)
def test_the_weights_are_opened_once(runs, monkeypatch, answer):
    opened = []

    def noting(function):
        def noted(path, *args, **options):
            opened.append(Path(path).name if isinstance(path, (str, Path)) else path)
            return function(path, *args, **options)

        return noted

    for place, name in (
        (builtins, "open"),
        (io, "open"),
        (safetensors, "safe_open"),
        (safetensors.torch, "safe_open"),
    ):
        monkeypatch.setattr(place, name, noting(getattr(place, name)))
    answer(runs / "gated", runs / "photo.png")
    assert opened.count(WEIGHTS) == 1


def test_a_gate_of_a_study_is_built_by_few_files(tmp_path):
    """From a recipe that is read, on a backbone of timm's: neither is on the way of a gate."""

    def study(out):
        recipe = override(load_recipe("digits/demo"), "model.name=resnet10t", "model.options={}")
        steps = Steps(fit=fake_fit, measure=fake_measure)
        with followed(SELN.__init__.__code__, "seln") as files:
            run_study(recipe, out, gates=["seln"], seeds=1, progress=False, steps=steps)
        return files

    study(tmp_path / "before")  # loads what is loaded late
    files = study(tmp_path / "study")
    assert (files[0], files[-1]) == ("studies/run.py", "gates/seln.py")
    assert {"studies/plan.py", "insertion/surgery.py", "registry.py"} <= {*files}
    assert len(files) <= MAX_FILES, files


def test_a_rate_crosses_no_closure_of_a_closure(tmp_path, monkeypatch):
    """Whoever reads from `fit` down to the optimiser finds each function where it is defined."""
    file = tmp_path / "mine.toml"
    file.write_text(spec.dump(override(load_recipe("digits/demo"), *SHORT, "optimizer.lr=0.0375")))
    recipe = load_recipe(file)
    assert isinstance(recipe, Recipe)
    crossed = []
    begin = torch.optim.Optimizer.__init__

    def noted(self, params, defaults):
        frame = sys._getframe(1)
        while frame is not None:
            if path_of(frame.f_code):
                crossed.append((frame.f_code, frame.f_locals))
            frame = frame.f_back
        assert defaults["lr"] == 0.0375
        return begin(self, params, defaults)

    monkeypatch.setattr(torch.optim.Optimizer, "__init__", noted)
    fit(recipe, tmp_path / "run", progress=False)
    names = [code.co_qualname for code, _ in crossed]
    assert "fit" in names and "create_optimizer" in names
    assert [name for name in names if "<locals>" in name] == []
    for code, variables in crossed:
        free = [variables.get(name) for name in code.co_freevars]
        assert not any(getattr(value, "__closure__", None) for value in free), code.co_qualname
