"""Predictions: the eager network's own, from a run, a hub folder or a file."""

from dataclasses import replace

import pytest
import torch

from convgate.deploy import About, Classifier, open_classifier, predict, save_hub
from convgate.errors import InputError


def test_the_five_most_probable_classes(small, picture, tmp_path):
    about, model = small()
    save_hub(model, about, tmp_path / "hub")
    (found,) = predict(open_classifier(tmp_path / "hub"), [picture])
    with torch.no_grad():
        odds = model(about.images.batch([picture])).double().softmax(1)[0]
    order = sorted(range(6), key=lambda place: -odds[place])[:5]
    assert [guess.name for guess in found.top] == [about.classes[place] for place in order]
    for guess, place in zip(found.top, order, strict=True):
        assert guess.probability == pytest.approx(float(odds[place]), rel=1e-5)
    assert found.to_dict()["image"] == str(picture)


def test_a_run_predicts_and_every_picture_has_its_row(run, picture):
    folder, model = run
    opened = open_classifier(folder)
    found = predict(opened, [picture] * 20)
    assert len(found) == 20
    x = opened.about.images.batch([picture])
    assert found[19].top[0].name == str(int(model(x).argmax()))


def test_unnamed_classes_have_numbers(small, picture):
    about, model = small()
    (found,) = predict(Classifier(model, About(model="resnet8", images=about.images)), [picture])
    assert found.top[0].name.startswith("class ")


def test_what_cannot_be_predicted_with(small, picture, tmp_path):
    _, model = small()
    with pytest.raises(InputError, match="does not say how to prepare a picture"):
        predict(Classifier(model, About(model="resnet8")), [picture])
    with pytest.raises(InputError, match="there is no such file or folder"):
        open_classifier(tmp_path / "none.onnx")


def test_synsets_are_shown_in_words(small, picture):
    about, model = small()
    about = replace(about, classes=("n02099601", *about.classes[1:]))
    (found,) = predict(Classifier(model, about), [picture])
    names = {guess.name for guess in found.top}
    assert names & {"golden retriever", *about.classes[1:]} == names
    odds = model(about.images.batch([picture]))[0]
    assert ("golden retriever" in names) == (int(odds.argmin()) != 0)
