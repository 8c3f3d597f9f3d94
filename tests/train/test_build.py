import pytest
import torch

from convgate import spec
from convgate.errors import InputError
from convgate.gates import EAN, ELA, GATES, SE, SELN
from convgate.insertion import inserted
from convgate.models import create_model
from convgate.networks import add_gate
from convgate.networks.specs import GateSpec
from convgate.train.build import build_model
from convgate.train.recipe import Recipe, list_recipes, load_recipe, override

# By hand: the published network's own parameters, and what the gates add at the papers' places.
PARAMETERS = {
    "imagenet/selnext": 35_126_656,  # printed 35 M; the released network has this many
    "imagenet/ean_resnet": 25_557_032 + 4 * 15_104 // 64,  # 15,104 block outputs, 64 groups
    "imagenet/ean_light": 3_504_872 + 4 * 7_104 // 8,  # 7,104 expanded channels, 8 groups
    "imagenet/ela_mobilenetv2": 3_504_872 + 8 * 5 * 7_136 + 2 * 7_136,  # k5, 8 a group; norm
    "imagenet/ela_resnet": 11_689_512 + 7 * 1_920 + 2 * 1_920,  # k7, one a group; norm
}


CLASSIFY = [name for name in list_recipes() if load_recipe(name).task.name == "classify"]


@pytest.mark.parametrize("name", CLASSIFY)
def test_every_packaged_recipe_builds(name):
    recipe = override(load_recipe(name), "model.pretrained=false")  # no tensor has values here
    with torch.device("meta"):
        model = build_model(recipe, num_classes=1000, in_chans=1 if "digits" in name else 3)
    if name in PARAMETERS:
        assert sum(p.numel() for p in model.parameters()) == PARAMETERS[name]
    gates = {"seln": SELN, "ean": EAN, "ela_s": ELA, "ela_b": ELA, "se": SE}
    if recipe.gate:
        assert any(isinstance(m, gates[recipe.gate.name]) for m in model.modules())


def test_the_backbone_starts_alike_whatever_the_gate(tiny):
    def weights(*settings):
        return build_model(tiny(*settings), num_classes=10, in_chans=1).state_dict()

    plain, other_seed = weights(), weights("run.seed=1")
    assert not torch.equal(plain["fc.weight"], other_seed["fc.weight"])
    for gate in ("se", "seln", "cbam"):
        assert gate in GATES
        gated = weights(f"gate.name={gate}")
        assert len(gated) > len(plain)
        assert all(torch.equal(gated[key], value) for key, value in plain.items())


def test_building_a_model_leaves_the_random_state_alone(tiny):
    torch.manual_seed(5)
    expected = torch.rand(3)
    torch.manual_seed(5)
    build_model(tiny(), num_classes=10, in_chans=1)
    assert torch.equal(torch.rand(3), expected)


def test_fine_tuning_replaces_the_head_alone(tiny, tmp_path):
    trained = create_model("resnet8", num_classes=7, in_chans=1)
    torch.save(trained.state_dict(), tmp_path / "start.pth")
    recipe = tiny(f"model.weights={tmp_path / 'start.pth'}", "model.weights_classes=7")
    model = build_model(recipe, num_classes=10, in_chans=1)
    assert model.fc.out_features == 10
    assert not model.fc.weight.any() and not model.fc.bias.any()  # it sends no noise below
    body = {k: v for k, v in trained.state_dict().items() if not k.startswith("fc.")}
    assert all(torch.equal(model.state_dict()[key], value) for key, value in body.items())


def test_shared_batch_statistics_keep_the_gates(tiny, monkeypatch):
    # the conversion builds norms anew; a gate's hook on the old one would be lost
    monkeypatch.setenv("WORLD_SIZE", "2")
    recipe = tiny("run.sync_batchnorm=true", "gate.name=ca", "gate.start=paper")
    model = build_model(recipe, num_classes=10, in_chans=1)
    norms = [m for m in model.modules() if "BatchNorm" in type(m).__name__]
    assert all(isinstance(norm, torch.nn.SyncBatchNorm) for norm in norms)
    ran = []
    for _, gate, _ in inserted(model):
        gate.register_forward_hook(lambda *_: ran.append(1))
    model.eval()(torch.randn(1, 1, 8, 8))
    assert len(ran) == len(list(inserted(model))) == 3


def test_none_in_the_place_of_a_gate_takes_it_away():
    """MobileNetV3-Large without its attention: 3.97 M in doi 10.32604/cmc.2025.059966, Table 7."""
    with torch.device("meta"):
        model = create_model("torchvision/mobilenet_v3_large")
        add_gate(model, GateSpec(name="none", replaces="se"))
    assert round(sum(p.numel() for p in model.parameters()) / 1e6, 2) == 3.97


def test_stages_have_gates_of_their_own(tiny, tmp_path):
    """As a recipe spells it; an option goes to the gates that have it."""
    file = tmp_path / "mixed.toml"
    plain = spec.to_table(tiny())
    plain["gate"] = {"options": {"reduction": 4}, "stages": {"1": "se", "3": "eca"}}
    file.write_text(spec.dump(spec.parse(Recipe, plain, name="mixed")))
    recipe = load_recipe(file)
    model = build_model(recipe, num_classes=10, in_chans=1)
    found = [(i.site.stage, i.gate, dict(i.options)) for _, _, i in inserted(model)]
    assert found[0] == (1, "se", {"reduction": 4})
    assert found[-1] == (3, "eca", {})
    assert {stage for stage, _, _ in found} == {1, 3}


@pytest.mark.parametrize(
    ("gate", "sentence"),
    [
        ({"name": "se", "stages": {"1": "eca"}}, "give the gate's name, or a table"),
        ({"at": "spatial"}, "give the gate's name, or a table"),
        ({"stages": {"first": "se"}}, "stages.first: a stage is a whole number"),
    ],
)
def test_gates_of_stages_are_checked(tiny, gate, sentence):
    table = spec.to_table(tiny()) | {"gate": gate}
    with pytest.raises(InputError, match=sentence):
        spec.parse(Recipe, table, name="mixed")


def test_torchvisions_networks_take_no_grey_pictures():
    recipe = override(load_recipe("digits/demo"), "model.name=torchvision/resnet18")
    with pytest.raises(InputError, match=r"torchvision/resnet18: .* 3 channels, and these have 1;"):
        build_model(recipe, num_classes=10, in_chans=1)
