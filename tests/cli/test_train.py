import json

import pytest
from typer.testing import CliRunner

from convgate.cli import app

SMALL = ("--set", "schedule.epochs=3", "--set", "data.train_count=200")


def convgate(*words):
    return CliRunner().invoke(app, [str(word) for word in words])


def test_train_then_eval(tmp_path):
    trained = convgate("train", "digits/demo", "--out", tmp_path, "--gate", "eca", *SMALL)
    assert trained.exit_code == 0, trained.output
    assert "on 360 images  epochs 3" in trained.stdout
    assert "epoch 3/3" in trained.stderr
    scores = convgate("eval", tmp_path, "--json")
    assert scores.exit_code == 0, scores.output
    stored = json.loads((tmp_path / "result.json").read_text())
    found = json.loads(scores.stdout)
    assert {k: found[k] for k in ("top1", "top5", "val_loss")} == {
        k: stored[k] for k in ("top1", "top5", "val_loss")
    }
    assert f"top-1 {stored['top1']:.2f} %" in convgate("eval", tmp_path).stdout


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("digits/dmeo",), "unknown recipe 'digits/dmeo'; did you mean 'digits/demo'?"),
        (("digits/demo", "--gate", "selm"), "unknown gate 'selm'; did you mean"),
        (("digits/demo", "--model", "resnet9"), "unknown model 'resnet9'; did you mean"),
        (("digits/demo", "--gate", "se", "--at", "block_edn"), "did you mean 'block_end'?"),
        (
            ("digits/demo", "--set", "run.sede=1"),
            "unknown key 'run.sede' (did you mean 'run.seed'?)",
        ),
        (("cifar10/study",), "cifar10"),
        (("cifar10/study", "--data", "nowhere"), "nowhere"),
    ],
)
def test_a_wrong_word_is_one_sentence_and_exit_code_2(tmp_path, words, said):
    result = convgate("train", *words, "--out", tmp_path / "run")
    assert result.exit_code == 2, result.output
    assert said in result.stderr
    assert len(result.stderr.strip().splitlines()) == 1


def test_eval_of_nothing(tmp_path):
    result = convgate("eval", tmp_path / "no")
    assert result.exit_code == 2
    assert "there is no such file or folder" in result.stderr
