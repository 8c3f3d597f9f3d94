import tomllib

import pytest

from convgate import spec
from convgate.errors import InputError
from convgate.gates import list_gates
from convgate.train.recipe import (
    FOLDER,
    GateSpec,
    Recipe,
    chosen,
    list_recipes,
    load_recipe,
    override,
)

PAPERS = [name for name in list_recipes() if name not in ("digits/demo", "cifar10/study")]


@pytest.mark.parametrize("name", list_recipes())
def test_every_packaged_recipe_loads_and_survives_a_round_trip(name):
    recipe = load_recipe(name)
    assert spec.parse(Recipe, tomllib.loads(spec.dump(recipe)), name=name) == recipe
    assert recipe.source
    if recipe.gate:
        assert recipe.gate.name in list_gates()


@pytest.mark.parametrize("name", PAPERS)
def test_every_remark_is_about_a_key_that_exists(name):
    recipe = load_recipe(name)
    assert recipe.note
    for key in recipe.note:
        here = recipe
        for part in key.split("."):
            here = here[part] if isinstance(here, dict) else getattr(here, part)


# Hand-copied from the papers: table 1 of SELNeXt, the experiment paragraphs of EAN and ELA.
PRINTED = {
    "imagenet/selnext": dict(
        optimizer=("adamw", 4e-3, 0.05), batch_size=4096, epochs=300, schedule="cosine"
    ),
    "imagenet/mobilenetv3_seln": dict(
        optimizer=("rmsprop", 0.064, 1e-5), batch_size=1024, epochs=600, schedule="step"
    ),
    "transfer/selnext_flowers102": dict(
        optimizer=("adamw", 1e-4, 1e-4), batch_size=256, epochs=40, schedule="cosine"
    ),
    "cifar100/ean": dict(optimizer=("sgd", 0.05, 5e-4), epochs=200, schedule="step"),
    "imagenet/ean_light": dict(weight_decay=4e-5, schedule="cosine"),
    "imagenet/ean_resnet": dict(optimizer=("sgd", 0.1, 1e-4), batch_size=256),
    "imagenet/ela_mobilenetv2": dict(
        optimizer=("sgd", 0.025, 4e-5), batch_size=256, epochs=200, schedule="cosine"
    ),
    "imagenet/ela_resnet": dict(optimizer=("sgd", 0.1, 1e-4), epochs=90, schedule="step"),
}


@pytest.mark.parametrize("name", PRINTED)
def test_recipes_hold_what_the_papers_print(name):
    recipe = load_recipe(name)
    rule = recipe.optimizer
    found = dict(
        optimizer=(rule.name, rule.lr, rule.weight_decay),
        weight_decay=rule.weight_decay,
        batch_size=recipe.run.batch_size,
        epochs=recipe.schedule.epochs,
        schedule=recipe.schedule.name,
    )
    assert {key: found[key] for key in PRINTED[name]} == PRINTED[name]


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(
        InputError, match=r"unknown recipe 'digits/dmo'; did you mean 'digits/demo'"
    ):
        load_recipe("digits/dmo")


def test_a_file_is_named_with_all_its_faults(tmp_path):
    text = (FOLDER / "digits" / "demo.toml").read_text()
    path = tmp_path / "mine.toml"
    path.write_text(text.replace("weight_decay", "weight_deacy").replace("epochs = 20", ""))
    with pytest.raises(InputError) as caught:
        load_recipe(path)
    assert str(caught.value) == (
        f"{path}: unknown key 'optimizer.weight_deacy' (did you mean 'optimizer.weight_decay'?); "
        "missing key 'schedule.epochs'"
    )


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("optimizer.lr=-1", "optimizer.lr=-1.0 must be above 0"),
        ("schedule.epochs=0", "schedule.epochs=0 must be 1 or more"),
        ("schedule.warmup_epochs=99", "must lie in 0..20 (epochs)"),
        ("schedule.name=step", "needs milestones or step_epochs"),
        ("schedule.name=cosnie", "must be one of 'cosine', 'step', 'poly', not 'cosnie'"),
        ("run.accumulate=3", "accumulate=3 must divide batch_size=64"),
        ("run.ema_decay=1", "must lie in 0..1"),
        ("run.dtype=float8", "'run.dtype' must be one of"),
        ("study.gates=[]", "study.gates is empty"),
        ("optimizer.lrr=1", "unknown key 'optimizer.lrr' (did you mean 'optimizer.lr'?)"),
        ("optimizer", "write key=value"),
        ("optimizer.lr.x=1", "optimizer.lr holds no keys"),
        ("data.name=digit", "[data] unknown name 'digit'; did you mean 'digits'?"),
    ],
)
def test_a_wrong_setting_is_explained(setting, said):
    with pytest.raises(InputError) as caught:
        override(load_recipe("digits/demo"), setting)
    assert said in str(caught.value)


def test_settings_change_single_keys():
    recipe = override(
        load_recipe("digits/demo"),
        "optimizer.lr=1e-2",
        "data.path=some/where.zip",
        "gate.name=eca",
        "gate.options.k=3",
        "gate.stages=[1, 2]",
        "augment.flip=true",
    )
    assert recipe.optimizer.lr == 0.01
    assert recipe.data.path == "some/where.zip"
    assert recipe.gate == GateSpec(name="eca", options={"k": 3}, stages=(1, 2))
    assert recipe.augment.flip


def test_choices_of_the_command_line():
    recipe = load_recipe("cifar100/ean")
    seln = chosen(recipe, gate="seln", at="stage_end", data="here", model="resnet20", skip_bad=True)
    assert seln.gate == GateSpec(name="seln", at="stage_end")
    assert (seln.data.path, seln.data.skip_bad, seln.model.name) == ("here", True, "resnet20")
    assert chosen(recipe, gate="none").gate is None
    assert chosen(recipe) == recipe
    with pytest.raises(InputError, match="add --gate"):
        chosen(load_recipe("digits/demo"), at="block_end")


def test_the_same_run_may_lie_elsewhere_but_not_learn_otherwise():
    recipe = load_recipe("digits/demo")
    assert recipe.describes_same_run(override(recipe, "data.path=x", "study.seeds=9", "source=y"))
    assert not recipe.describes_same_run(override(recipe, "run.seed=1"))
    assert not recipe.describes_same_run(override(recipe, "gate.name=eca"))
