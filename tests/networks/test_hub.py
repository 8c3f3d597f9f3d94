"""A hub folder gives timm the same network; a gate is never left out in silence."""

import json

import pytest
import timm
import torch

from convgate import spec
from convgate.errors import CorruptFile, InputError
from convgate.models import create_model
from convgate.networks import Card, GateSpec, load_hub, save_hub
from convgate.networks.build import build_network

X = torch.randn(2, 3, 32, 32, generator=torch.Generator().manual_seed(1))


def test_timm_builds_every_family_of_ours_from_its_folder(family, tmp_path):
    about, model = family
    save_hub(model, about, tmp_path / "hub")
    again = timm.create_model(f"local-dir:{tmp_path}/hub", pretrained=True).eval()
    with torch.no_grad():
        assert torch.equal(again(X), model(X))
    assert again.pretrained_cfg["label_names"] == list(about.classes)
    assert again.pretrained_cfg["num_classes"] == again.num_classes == 6
    assert sorted(path.name for path in tmp_path.iterdir()) == ["hub"]
    assert {path.name for path in (tmp_path / "hub").iterdir()} == {
        "config.json",
        "model.safetensors",
    }


def test_everyone_may_read_the_weights_who_may_read_a_new_file(small, tmp_path):
    about, model = small()
    save_hub(model, about, tmp_path / "hub")
    (tmp_path / "new").touch()
    modes = {path.stat().st_mode for path in (tmp_path / "hub").iterdir()}
    assert modes == {(tmp_path / "new").stat().st_mode}


def test_timms_own_tools_read_the_folder(family, tmp_path):
    about, model = family
    save_hub(model, about, tmp_path / "hub")
    place = f"local-dir:{tmp_path}/hub"
    config = timm.data.resolve_model_data_config(timm.create_model(place))
    assert tuple(config["input_size"]) == (3, 32, 32)
    assert tuple(config["mean"]) == about.images.mean
    assert tuple(config["std"]) == about.images.std
    assert len(timm.data.create_transform(**config).transforms) >= 3
    maps = timm.create_model(place, pretrained=True, features_only=True).eval()(X)
    if hasattr(model, "forward_intermediates"):  # an older timm's DenseNet has none
        expected = model.forward_intermediates(X, intermediates_only=True)
        # timm's wrapper may take a stage apart elsewhere; what it calls the last stage is the same
        torch.testing.assert_close(maps[-1], expected[-1])
    fresh = timm.create_model(about.model, **about.options).eval()
    timm.models.load_checkpoint(fresh, str(tmp_path / "hub/model.safetensors"))
    assert torch.equal(fresh(X), model(X))


def test_timm_lists_the_names():
    assert {"selnext_atto", "selnext_tiny"} <= set(timm.list_models("*selnext*"))


def test_a_gate_comes_along(small, tmp_path):
    about, model = small("se", reduction=4)
    save_hub(model, about, tmp_path / "hub")
    again, told = load_hub(tmp_path / "hub")
    assert torch.equal(again(X), model(X))
    assert told == about
    through_timm = timm.create_model(f"local-dir:{tmp_path}/hub", pretrained=True).eval()
    assert torch.equal(through_timm(X), model(X))


def test_where_convgate_is_not_imported_the_name_is_unknown(small, tmp_path, monkeypatch):
    about, model = small("se", reduction=4)
    save_hub(model, about, tmp_path / "hub")
    monkeypatch.delitem(timm.models._registry._model_entrypoints, "convgate_gated")
    with pytest.raises(RuntimeError, match="Unknown model \\(convgate_gated\\)"):
        timm.create_model(f"local-dir:{tmp_path}/hub", pretrained=True)


def test_a_new_head_keeps_the_gate(small, tmp_path):
    """To tune on other classes timm drops the classifier's weights, and nothing else."""
    about, model = small("se", reduction=4)
    save_hub(model, about, tmp_path / "hub")
    place = f"local-dir:{tmp_path}/hub"
    tuned = timm.create_model(place, pretrained=True, num_classes=3).eval()
    assert torch.equal(tuned.forward_features(X), model.forward_features(X))
    assert tuned(X).shape == (2, 3)
    with pytest.raises(InputError, match="no features_only form"):
        timm.create_model(place, features_only=True)


def test_anybodys_folder_opens(tmp_path):
    model = timm.create_model("test_resnet", num_classes=4).eval()
    timm.models.save_for_hf(model, tmp_path / "hub", safe_serialization=True)
    again, about = load_hub(tmp_path / "hub")
    x = torch.randn(1, 3, 64, 64)
    assert torch.equal(again(x), model(x))
    assert (about.model, about.images.resize, about.images.mean) == (
        "test_resnet",
        "timm",
        (0.5, 0.5, 0.5),
    )


def test_refusals_leave_nothing_behind(small, tmp_path, monkeypatch):
    about, model = small()
    (tmp_path / "full").mkdir()
    (tmp_path / "full/note.txt").write_text("mine")
    with pytest.raises(InputError, match="exists already; choose a new folder"):
        save_hub(model, about, tmp_path / "full")
    with pytest.raises(InputError, match="there is no folder"):
        save_hub(model, about, tmp_path / "nowhere/hub")
    with pytest.raises(InputError, match="is not in timm"):
        other = type(about)(model="torchvision/resnet18")
        save_hub(model, other, tmp_path / "hub")
    monkeypatch.setattr(torch, "equal", lambda a, b: False)
    with pytest.raises(InputError, match="timm builds another network"):
        save_hub(model, about, tmp_path / "hub")
    assert [path.name for path in tmp_path.iterdir()] == ["full"]


def test_damaged_folders_are_one_sentence(small, tmp_path):
    about, model = small()
    folder = tmp_path / "hub"
    save_hub(model, about, folder)
    config = json.loads((folder / "config.json").read_text())
    whole = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(whole[:1000])
    with pytest.raises(CorruptFile, match="timm cannot load it"):
        load_hub(folder)
    (folder / "model.safetensors").write_bytes(whole)
    (folder / "config.json").write_text(json.dumps(config | {"architecture": "resnet20"}))
    with pytest.raises(CorruptFile, match="timm cannot load it"):
        load_hub(folder)
    (folder / "config.json").write_text(json.dumps(config | {"convgate": {"modle": "x"}}))
    with pytest.raises(InputError, match="unknown key 'modle'"):
        load_hub(folder)
    for text in ("{", "[]", "7", "[" * 100_000):
        (folder / "config.json").write_text(text)
        with pytest.raises(CorruptFile, match=r"config.json: its description is damaged"):
            load_hub(folder)


NAME = {"architecture": "resnet8"}


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"architecture": 5}, "timm knows no network 5"),
        ({"architecture": "hf-hub:somebody/net"}, "timm knows no network 'hf-hub:somebody/net'"),
        ({"model_args": 7}, "its description is damaged"),
        ({"model_args": {"nonsense": 1}}, "timm cannot load it"),
        ({"model_args": {"depth": "x"}}, "timm cannot load it"),
        ({"model_args": {"base": "hf-hub:a/b", "gates": [{}]}}, "timm knows no network"),
        (
            {"architecture": "convgate_gated", "model_args": {"base": "resnet8", "gates": [7]}},
            "timm",
        ),
        ({"pretrained_cfg": {"mean": "grey"}}, "are not of 3 channels"),
        ({"label_names": 5, "convgate": None}, "description is damaged"),
        ({"convgate": [1]}, "description is damaged"),
        (
            {"model_args": {"pretrained_cfg_overlay": {"file": "x.pth"}}},
            "says where weights come from",
        ),
    ],
)
def test_a_description_of_wrong_types_is_one_sentence(small, tmp_path, change, sentence):
    about, model = small()
    save_hub(model, about, tmp_path / "hub")
    config = json.loads((tmp_path / "hub/config.json").read_text()) | change
    if "mean" in str(change):
        del config["convgate"]
    (tmp_path / "hub/config.json").write_text(json.dumps(config))
    with pytest.raises(InputError, match=str(tmp_path / "hub")) as caught:
        load_hub(tmp_path / "hub")
    assert sentence in str(caught.value)


class Rogue:
    def __reduce__(self):
        return (exec, ("import convgate; convgate.rogue_ran = True",))


def test_a_pickle_is_refused_without_a_word_on_how_to_run_it(small, tmp_path):
    import convgate

    about, model = small()
    save_hub(model, about, tmp_path / "hub")
    (tmp_path / "hub/model.safetensors").unlink()
    torch.save({"conv1.weight": Rogue()}, tmp_path / "hub/pytorch_model.bin")
    with pytest.raises(
        CorruptFile, match="a pickle of more than tensors, which is not read"
    ) as told:
        load_hub(tmp_path / "hub")
    overlay = {"file": str(tmp_path / "hub/pytorch_model.bin")}
    with pytest.raises(InputError, match="resnet18: its weights are a pickle") as also:
        create_model("resnet18", pretrained=True, pretrained_cfg_overlay=overlay)
    assert not {"weights_only", "arbitrary"} & set(f"{told.value} {also.value}".split())
    assert "rogue_ran" not in vars(convgate)


@pytest.mark.parametrize("option", ["pretrained_cfg_overlay", "checkpoint_path", "pretrained"])
def test_a_card_names_no_other_file(option):
    with pytest.raises(
        InputError, match=f"resnet8: option '{option}' says where weights come from"
    ):
        build_network(Card(model="resnet8", options={option: {"file": "x.pth"}}))


def test_a_place_is_no_option_of_a_gate():
    with pytest.raises(InputError, match="'at' is no option of a gate, but of its place"):
        spec.parse(GateSpec, {"name": "se", "options": {"at": "block_end"}}, name="card")
