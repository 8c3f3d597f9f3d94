import pytest
import torch
from safetensors.torch import load_file, save_file

from convgate.errors import InputError
from convgate.insertion import inserted
from convgate.models import create_model
from convgate.networks import add_gate
from convgate.train.build import build_model
from convgate.train.recipe import list_recipes, load_recipe, override

SCENES = [name for name in list_recipes() if load_recipe(name).task.name != "classify"]
CLASSES = {"coco": 80, "voc": 20, "pennfudan": 1}
# By hand: printed with the table, or counted from the networks that REFERENCES names.
MILLIONS = {
    "coco/mask_rcnn": 55,  # SELN, table 5
    "coco/cascade_mask_rcnn": 92,
}


@pytest.mark.parametrize("name", SCENES)
def test_every_packaged_recipe_builds(name):
    recipe = override(load_recipe(name), "model.pretrained=false")  # no tensor has values here
    with torch.device("meta"):
        model = build_model(recipe, num_classes=CLASSES[name.partition("/")[0]])
    if name in MILLIONS:
        assert round(sum(p.numel() for p in model.parameters()) / 1e6) == MILLIONS[name]
    assert bool(list(inserted(model))) == (recipe.gate is not None)
    assert recipe.detector.has_masks == ("mask" in name)


def small(*settings):
    size = ("detector.options.min_size=64", "detector.options.max_size=64")
    return override(load_recipe("pennfudan/yolox_nano"), *size, *settings)


def test_all_but_the_gates_starts_alike():
    plain = build_model(small(), num_classes=1).state_dict()
    at = "gate.at=backbone.ends.?,neck.fused.?"
    gated = build_model(small("gate.name=ela_s", at), num_classes=1).state_dict()
    assert gated.keys() > plain.keys()
    assert all(torch.equal(gated[key], plain[key]) for key in plain)
    other = build_model(small("run.seed=1"), num_classes=1).state_dict()
    assert not all(torch.equal(other[key], plain[key]) for key in plain)


@pytest.mark.parametrize(
    ("recipe", "name"),
    [
        ("mask_rcnn", "mask_rcnn"),
        ("mask_rcnn", "faster_rcnn"),
        ("mask_rcnn", "cascade_mask_rcnn"),
        ("retinanet", "retinanet"),
        ("yolof", "yolof"),
        ("yolox_nano", "yolox"),
        ("ssdlite", "ssdlite320"),
    ],
)
def test_a_light_recipe_serves_every_detector(recipe, name):
    """The options of Mask R-CNN are those of the other R-CNNs: the name alone may change."""
    chosen = override(load_recipe(f"pennfudan/{recipe}"), f"detector.name={name}")
    with torch.device("meta"):
        assert build_model(chosen, num_classes=1)
    assert chosen.detector.has_masks == ("mask" in name)


@pytest.mark.parametrize(
    ("settings", "said"),
    [
        (("detector.name=yolx",), "unknown detector 'yolx'; did you mean 'yolox'?"),
        (("detector.options.min_siz=1",), "unknown option 'min_siz'; did you mean 'min_size'?"),
        (("model.name=resnet9",), "unknown model 'resnet9'"),
    ],
)
def test_wrong_words(settings, said):
    with pytest.raises(InputError, match="unknown") as caught:
        build_model(small(*settings), num_classes=1)
    assert said in str(caught.value)


@pytest.mark.parametrize(
    ("name", "gate"),
    [
        ("resnet10t", ("gate.name=eca", "gate.start=paper")),
        ("mobilenetv3_small_050", ("gate.name=seln", "gate.replaces=se")),
    ],
)
def test_a_backbone_starts_from_a_classifier_gated_or_not(tmp_path, name, gate):
    here = small(f"model.name={name}", *gate)
    classifier = create_model(name, num_classes=7)
    plain, gated = tmp_path / "plain.safetensors", tmp_path / "gated.safetensors"
    save_file(classifier.state_dict(), plain)
    add_gate(classifier, here.gate)
    save_file({k: v.contiguous() for k, v in classifier.state_dict().items()}, gated)
    for path in (plain, gated):
        recipe = override(here, f"model.weights={path}")
        state = build_model(recipe, num_classes=1).state_dict()
        found = {k.removeprefix("backbone.body."): v for k, v in state.items() if ".body." in k}
        expected = load_file(path)
        shared = found.keys() & expected.keys()
        assert len(shared) > 30
        assert all(torch.equal(found[key], expected[key]) for key in shared)
        if path == gated:
            assert shared == found.keys()
