"""A hub folder gives timm the same network; a gate is never left out in silence."""

import json

import pytest
import timm
import torch

from convgate.errors import CorruptFile, InputError
from convgate.networks import load_hub, save_hub

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
    (folder / "config.json").write_text("{")
    with pytest.raises(CorruptFile, match="timm cannot load it"):
        load_hub(folder)
