"""The feature distance of trained rows, against SELN's equation 4 written out."""

import itertools
from dataclasses import replace

import pytest
import torch
from PIL import Image
from torchvision.models.mobilenetv3 import InvertedResidual

from convgate.errors import CorruptFile, InputError
from convgate.networks import Preprocessing, gates_of, save_network
from convgate.papers import run_table, with_results
from convgate.train.build import build_model, card_of
from convgate.train.classification import Classification

PX = 32
MEAN = STD = (0.5, 0.5, 0.5)


@pytest.fixture
def pictures(tmp_path):
    """Two classes of noise: four pictures to train on, three to validate."""
    generator = torch.Generator().manual_seed(0)
    for split, kind, number in itertools.product(("train", "val"), ("a", "b"), (0, 1)):
        if (split, kind, number) == ("val", "b", 1):
            continue
        place = tmp_path / "pictures" / split / kind
        place.mkdir(parents=True, exist_ok=True)
        noise = torch.randint(256, (PX, PX, 3), dtype=torch.uint8, generator=generator)
        Image.fromarray(noise.numpy()).save(place / f"{number}.png")
    return tmp_path / "pictures"


@pytest.fixture
def run(tmp_path, recipe_of, leave, pictures, monkeypatch):
    """A run of a table's row, whose weights are those of its seed."""
    monkeypatch.chdir(tmp_path)

    def make(row="seln", seed=0):
        words = ('data.name="folder"', f"data.image_px={PX}", "run.batch_size=2", "data.workers=0")
        recipe = recipe_of("selnext.6", row, *words, "run.drop_path=0.0", seed=seed)
        place = leave(tmp_path / f"{row}{seed}", recipe, 50.0)
        model = build_model(recipe, num_classes=2, in_chans=3)
        card = card_of(recipe, ("a", "b"))
        images = Preprocessing(input_size=(3, PX, PX), mean=MEAN, std=STD, resize="square")
        card = replace(card, gates=gates_of(model), weights="drawn", images=images)
        save_network(place / "weights.safetensors", model.state_dict(), card)
        return recipe, model.eval()

    return make


def expected(recipe, model, pictures):
    """One minus the cosine, halved, over all pairs of channels: of each block, then averaged."""
    seen = replace(recipe.data, path=str(pictures), mean=MEAN, std=STD)  # as the run's card says
    data = Classification.open_data(replace(recipe, data=seen))
    x = torch.cat([x for x, _ in data.val])
    blocks = [m for m in model.modules() if isinstance(m, InvertedResidual)]
    expanding = [m.block[0] for m in blocks if m.block[0][0].kernel_size == (1, 1)]
    assert (len(expanding), len(x)) == (14, 3)
    maps = []
    for layer in expanding:
        layer.register_forward_hook(lambda module, args, out: maps.append(out.double()))
    with torch.no_grad():
        model(x)
    each = []
    for features in maps:
        units = torch.nn.functional.normalize(features.flatten(2), dim=2)
        cosine = units @ units.transpose(1, 2)
        each.append(((1 - cosine) / 2).mean())
    return float(torch.stack(each).mean())


def distance(result, row):
    return next(r for r in result.rows if r.name == row).cell("distance").trained


def test_after_the_expansion_of_each_block_averaged(run, pictures, tmp_path):
    recipe, model = run()
    result = with_results(run_table("selnext.6"), [tmp_path], images=pictures)
    (found,) = distance(result, "seln")
    assert found.mean == pytest.approx(expected(recipe, model, pictures), rel=1e-4)
    assert found.runs == 1
    assert not distance(result, "tanh")


def test_without_images_there_is_none(run, tmp_path):
    run()
    assert not distance(with_results(run_table("selnext.6"), [tmp_path]), "seln")


def test_images_that_serve_no_row_are_refused(run, pictures, tmp_path):
    with pytest.raises(InputError, match=r"no trained run of a row of selnext\.6 with a feature"):
        with_results(run_table("selnext.6"), images=pictures)
    run()
    with pytest.raises(InputError, match=r"no trained run of a row of ean\.2"):
        with_results(run_table("ean.2", "resnet56"), images=pictures)
    (pictures / "train/c").mkdir()
    Image.new("RGB", (PX, PX)).save(pictures / "train/c/0.png")
    with pytest.raises(InputError, match=r"its 3 classes are not the 2 of .*seln0"):
        with_results(run_table("selnext.6"), [tmp_path], images=pictures)


def test_weights_that_are_gone_or_damaged_are_named(run, pictures, tmp_path):
    run()
    weights = tmp_path / "seln0/weights.safetensors"
    weights.write_bytes(weights.read_bytes()[:100])
    with pytest.raises(CorruptFile, match=r"seln0/weights\.safetensors"):
        with_results(run_table("selnext.6"), [tmp_path], images=pictures)
    weights.unlink()
    with pytest.raises(InputError, match=r"a folder without weights\.safetensors"):
        with_results(run_table("selnext.6"), [tmp_path], images=pictures)
