import tomllib

import pytest
import torch

from convgate import spec
from convgate.errors import InputError
from convgate.gates import list_gates
from convgate.insertion import inserted
from convgate.networks.card import Card, save_network
from convgate.networks.gates import add_gate, gates_of
from convgate.networks.specs import GateSpec, ModelSpec
from convgate.spec import changes
from convgate.train.build import build_model
from convgate.train.recipe import FOLDER, Recipe, chosen, list_recipes, load_recipe, override

OURS = ("digits/", "pennfudan/", "cifar10/study", "finetune/")
PAPERS = [name for name in list_recipes() if not name.startswith(OURS)]


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
    "coco/mask_rcnn": dict(
        optimizer=("adamw", 2e-4, 0.05), batch_size=16, epochs=36, schedule="step", drop_path=0.4
    ),
    "coco/cascade_mask_rcnn": dict(
        optimizer=("adamw", 2e-4, 0.05), batch_size=16, epochs=36, schedule="step", drop_path=0.4
    ),
    "coco/mask_rcnn_1x": dict(
        optimizer=("adamw", 2e-4, 1e-4), batch_size=16, epochs=12, schedule="step", drop_path=0.15
    ),
    "coco/yolof": dict(
        rate=("sgd", 0.003), batch_size=16, epochs=12, milestones=(8, 11), warmup_updates=1500
    ),
    "coco/ssdlite": dict(
        rate=("sgd", 0.01), batch_size=16, updates=(200_000, 120_000, 180_000), warmup_updates=500
    ),
    "coco/faster_rcnn": dict(
        rate=("sgd", 0.01), batch_size=16, updates=(200_000, 120_000, 180_000), warmup_updates=500
    ),
    "voc/ssdlite": dict(
        rate=("sgd", 0.001), batch_size=32, updates=(200_000, 120_000, 180_000), warmup_updates=500
    ),
    # printed: cosine; that of YOLOX is one, warmed up and closed in its own way
    "voc/yolox_nano": dict(
        optimizer=("sgd", 0.02, 5e-4), batch_size=16, epochs=72, schedule="yolox",
        scale=(0.5, 1.5), image_px=640,
    ),
    "voc/deeplabv3": dict(lr=0.025, batch_size=12, updates=(40_000,), window_px=513),
}  # fmt: skip


@pytest.mark.parametrize("name", PRINTED)
def test_recipes_hold_what_the_papers_print(name):
    recipe = load_recipe(name)
    rule = recipe.optimizer
    schedule, augment = recipe.schedule, recipe.augment_objects
    epoch = schedule.epoch_updates
    found = dict(
        rate=(rule.name, rule.lr),
        lr=rule.lr,
        drop_path=recipe.run.drop_path,
        milestones=schedule.milestones,
        warmup_updates=schedule.warmup_updates,
        updates=tuple(epoch * n for n in (schedule.epochs, *schedule.milestones)),
        scale=augment and augment.scale,
        window_px=augment and augment.window_px,
        image_px=recipe.data.image_px,
        optimizer=(rule.name, rule.lr, rule.weight_decay),
        weight_decay=rule.weight_decay,
        batch_size=recipe.run.batch_size,
        epochs=recipe.schedule.epochs,
        schedule=recipe.schedule.name,
    )
    assert {key: found[key] for key in PRINTED[name]} == PRINTED[name]


# What they print beside: tables 1 (SELNeXt) and the experiment paragraphs (EAN, ELA), by key.
AUGMENTED = {"augment.randaugment_magnitude": 9, "augment.randaugment_mstd": 0.5}
MIXED = AUGMENTED | {"augment.mixup": 0.8, "augment.cutmix": 1.0, "augment.label_smoothing": 0.1}
EAN_CIFAR = {
    "optimizer.momentum": 0.9,
    "schedule.milestones": (100, 150),
    "schedule.gamma": 0.1,
    "gate.name": "ean",
    "gate.options": {"groups": 8},
    "augment.crop": "pad",
    "augment.flip": True,
}
TRANSFER = MIXED | {
    "optimizer.betas": (0.9, 0.999),
    "schedule.warmup_epochs": 10,
    "augment.random_erasing": 0.0,
    "run.drop_path": 0.0,
    "run.ema_decay": 0.0,
    "run.batch_size": 256,
    "schedule.epochs": 40,
}
DETAILS = {
    "imagenet/selnext": MIXED
    | {
        "optimizer.betas": (0.9, 0.999),
        "schedule.warmup_epochs": 20,
        "augment.random_erasing": 0.25,
        "run.drop_path": 0.1,
        "run.ema_decay": 0.9999,
        "data.image_px": 224,
    },
    "imagenet/mobilenetv3_seln": AUGMENTED
    | {
        "optimizer.momentum": 0.9,
        "schedule.warmup_epochs": 5,
        "augment.random_erasing": 0.2,
        "augment.label_smoothing": 0.1,
        "augment.mixup": 0.0,
        "augment.cutmix": 0.0,
        "run.drop_path": 0.2,
        "run.ema_decay": 0.9999,
    },
    "transfer/selnext_cifar100": TRANSFER | {"data.name": "cifar100"},
    "transfer/selnext_flowers102": TRANSFER | {"data.name": "flowers102"},
    "transfer/selnext_stanford_cars": TRANSFER | {"data.name": "stanford_cars"},
    "transfer/selnext_fgvc_aircraft": TRANSFER | {"data.name": "fgvc_aircraft"},
    "cifar10/ean": EAN_CIFAR | {"data.name": "cifar10"},
    "cifar100/ean": EAN_CIFAR | {"data.name": "cifar100"},
    "imagenet/ean_light": {"gate.options": {"groups": 8}},
    "imagenet/ean_resnet": {"gate.options": {"groups": 64}},
    "imagenet/ela_mobilenetv2": {"optimizer.momentum": 0.9},
    "imagenet/ela_resnet": {
        "optimizer.momentum": 0.99,
        "schedule.step_epochs": 30,
        "schedule.gamma": 0.1,
        "data.image_px": 224,
        "augment.crop": "resized",
        "augment.flip": True,
    },
}


@pytest.mark.parametrize("name", DETAILS)
def test_recipes_hold_the_details_that_the_papers_print(name):
    found = {}
    for key in DETAILS[name]:
        section, leaf = key.split(".")
        found[key] = getattr(getattr(load_recipe(name), section), leaf)
    assert found == DETAILS[name]


def test_a_name_the_other_way_round_leads_to_the_recipe():
    with pytest.raises(InputError, match=r"'ean/cifar100'; did you mean 'cifar100/ean'\?"):
        load_recipe("ean/cifar100")


def test_a_papers_recipe_takes_another_network_and_gate():
    run = chosen(load_recipe("cifar100/ean"), model="resnet56", gate="ean", data="cifar")
    model = build_model(run, num_classes=100, in_chans=3)
    gates = [gate for _, gate, _ in inserted(model)]
    assert len(gates) == 27 and {gate.groups for gate in gates} == {8}


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
        ("schedule.name=cosnie", "'poly', 'yolox', not 'cosnie'"),
        ("run.accumulate=3", "accumulate=3 must divide batch_size=64"),
        ("run.ema_decay=1", "must lie in 0..1"),
        ("run.dtype=float8", "'run.dtype' must be one of"),
        ("study.gates=[]", "study.gates is empty"),
        ("optimizer.lrr=1", "unknown key 'optimizer.lrr' (did you mean 'optimizer.lr'?)"),
        ("optimizer", "write key=value"),
        ("optimizer.lr.x=1", "optimizer.lr holds no keys"),
        ("schedule.warmup_updates=-1", "schedule.warmup_updates=-1 must be 0 or more"),
        ("schedule.warmup_updates=9", "warmup_epochs and warmup_updates are both set"),
        ("optimizer.layer_decay=0", "optimizer.layer_decay=0.0 must lie above 0 and up to 1"),
        ("task.name=detect", "[task] name='detect': [detector] is missing"),
        ("detector.name=yolox", "[detector] is for the tasks detect and segment"),
        ("augment_objects.name=ssd", "[augment_objects] is for the tasks detect and segment"),
        ("data.name=coco", "data.name='coco' holds objects"),
        (
            "optimizer.lr_scale.head=0",
            "optimizer.lr_scale.head=0.0 must be above 0; see [trainable]",
        ),
        ("optimizer.lr_scale.tail=1", "unknown key 'optimizer.lr_scale.tail'"),
        ("trainable.parts=[]", "trainable.parts is empty; name at least one of head, gates"),
        (
            "trainable.parts=['heat']",
            "'trainable.parts[0]' must be one of 'head', 'gates', 'norms'",
        ),
        ("data.name=digit", "[data] unknown name 'digit'; did you mean 'digits'?"),
    ],
)
def test_a_wrong_setting_is_explained(setting, said):
    with pytest.raises(InputError) as caught:
        override(load_recipe("digits/demo"), setting)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("setting", "said"),
    [
        ("augment.mixup=0.5", "[augment] is for classification; use [augment_objects]"),
        ("data.name=cifar10", "data.name='cifar10' has no objects; use one of coco"),
        ("data.storage=memory", "data.storage='memory' is for classification"),
        ("run.compile=true", "run.compile is for classification"),
        ('study.gates=["se"]', "[study] is for classification"),
        ("augment_objects.name=mosiac", "must be one of 'none', 'crop', 'ssd', 'mosaic', 'window'"),
        (
            "augment_objects.scale=[1.5, 0.5]",
            "augment_objects.scale=[1.5, 0.5] must rise from above 0",
        ),
        ("augment_objects.mosaic=2", "augment_objects.mosaic=2.0 must lie in 0..1"),
        ("augment_objects.sides=[]", "augment_objects.sides=[] must be lengths"),
        ("augment_objects.window_px=0", "augment_objects.window_px=0 must be 1 or more"),
    ],
)
def test_a_wrong_setting_of_detection_is_explained(setting, said):
    with pytest.raises(InputError) as caught:
        override(load_recipe("pennfudan/yolox_nano"), setting)
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
    assert seln.gate == GateSpec(name="seln", at="stage_end", start="paper")  # the recipe's start
    assert (seln.data.path, seln.data.skip_bad, seln.model.name) == ("here", True, "resnet20")
    assert chosen(recipe, gate="none").gate is None
    assert chosen(recipe) == recipe
    with pytest.raises(InputError, match="add --gate"):
        chosen(load_recipe("digits/demo"), at="block_end")


def test_a_gate_takes_a_place_a_start_and_the_seat_of_the_networks_own():
    recipe = load_recipe("digits/demo")
    found = chosen(recipe, gate="se", stages=(2, 3), start="identity")
    assert found.gate == GateSpec(name="se", stages=(2, 3), start="identity")
    assert chosen(recipe, gate="eca", at="se").gate.replaces == "se"
    with pytest.raises(InputError, match="--stages: the recipe has no gate to place; add --gate"):
        chosen(recipe, stages=(2,))
    with pytest.raises(InputError, match="unknown start 'idenity'; did you mean 'identity'"):
        chosen(recipe, gate="se", start="idenity")


def test_weights_are_loaded_into_a_network_by_name(tmp_path):
    recipe = load_recipe("digits/demo")
    model = build_model(recipe, num_classes=1000, in_chans=3)
    bare = tmp_path / "bare.pth"
    torch.save(model.state_dict(), bare)
    found = chosen(recipe, model="resnet8", weights=bare)
    assert found.model == ModelSpec(name="resnet8", weights=str(bare))
    assert chosen(recipe, weights=bare).model.weights == str(bare)  # the recipe's own network
    add_gate(model, GateSpec(name="se"))
    card = Card(model="resnet8", gates=gates_of(model), options={"num_classes": 7})
    told = tmp_path / "told.safetensors"
    save_network(told, model.state_dict(), card)
    kept = chosen(recipe, model="resnet8", weights=told).model
    assert (kept.gates, kept.weights_classes) == (True, 7)
    for words, sentence in (
        ({"model": "resnet20", "weights": told}, "told.safetensors: holds resnet8, not resnet20"),
        ({"model": str(told), "weights": bare}, "told.safetensors already; do without --weights"),
        ({"weights": tmp_path / "no.pth"}, "no.pth: there is no such file"),
    ):
        with pytest.raises(InputError, match=sentence):
            chosen(recipe, **words)


def test_the_same_run_may_lie_elsewhere_but_not_learn_otherwise():
    recipe = load_recipe("digits/demo")
    same = override(recipe, "data.path=x", "study.seeds=9", "source=y")
    assert recipe.fingerprint() == same.fingerprint()
    other = override(recipe, "run.seed=1", "gate.name=eca").fingerprint()
    assert {"run.seed", "gate.name"} <= changes(recipe.fingerprint(), other).keys()


def test_fewer_epochs_shorten_a_warm_up_that_no_longer_fits():
    recipe = load_recipe("digits/demo")
    assert recipe.schedule.warmup_epochs == 2
    assert override(recipe, "schedule.epochs=1").schedule.warmup_epochs == 0
    assert override(recipe, "schedule.epochs=5").schedule.warmup_epochs == 2
    with pytest.raises(InputError, match=r"warmup_epochs=2 must lie in 0\.\.1"):
        override(recipe, "schedule.epochs=1", "schedule.warmup_epochs=2")
    detector = load_recipe("pennfudan/yolox_nano")
    schedule = {"name": "yolox", "epochs": 20, "warmup_epochs": 4, "closing_epochs": 10}
    long = override(detector, *(f"schedule.{key}={value}" for key, value in schedule.items()))
    short = override(long, "schedule.epochs=5").schedule
    assert (short.warmup_epochs, short.closing_epochs) == (1, 2)


def test_a_key_without_a_section_is_an_option_of_the_gate():
    recipe = load_recipe("digits/demo")
    short, long = (override(recipe, "gate.name=se", f"{key}=4") for key in
                   ("reduction", "gate.options.reduction"))  # fmt: skip
    assert short == long and short.gate.options["reduction"] == 4


@pytest.mark.parametrize(
    ("setting", "sentence"),
    [
        ("optimizer.momentum=0", "nesterov looks ahead along a momentum; set it to false"),
        ("optimizer.momentum=-0.5", "momentum=-0.5 must lie in 0..1"),
        ("optimizer.lr=inf", "lr=inf must be above 0 and finite"),
        ("optimizer.lr=nan", "'optimizer.lr' must be a number, not nan"),
        ("optimizer.weight_decay=inf", "weight_decay=inf must be 0 or more, and finite"),
        ("run.clip_grad=-1", "clip_grad=-1.0 must be 0"),
        ("run.clip_grad=inf", "clip_grad=inf must be 0"),
        ("run.seed=-1", "seed=-1 must be 0 or more"),
        ("run.seed=9223372036854775808", "'run.seed' must be a whole number below 2^63"),
        ("run.batch_size=9223372036854775808", "must be a whole number below 2^63"),
        ("gate.options.reduction=9223372036854775808", "must be a whole number below 2^63"),
        ("gate.options.reduction=[nan]", "must be a number"),
        ("data.image_px=1000000", "image_px is 1000000, but must be between 1 and 8192"),
        ("data.workers=1025", "workers is 1025, but must be between 0 and 1024"),
        ("augment.mixup=inf", "mixup is inf, but must be 0 or more, and finite"),
        ("augment.crop_padding=9", "augment.crop_padding is larger than data.image_px"),
        ("model.options.num_classes=5", "model.options.num_classes follows from the data"),
    ],
)
def test_a_value_that_cannot_be_trained_with_is_refused_when_it_is_read(setting, sentence):
    with pytest.raises(InputError, match="--set: ") as caught:
        override(load_recipe("digits/demo"), "gate.name=se", setting)
    assert sentence in str(caught.value)


def test_a_file_nested_too_deeply(tmp_path):
    (tmp_path / "deep.toml").write_text(f"source = {'[' * 20_000}{']' * 20_000}")
    with pytest.raises(InputError, match=r"deep.toml: its lists or tables are nested too deeply"):
        load_recipe(tmp_path / "deep.toml")
