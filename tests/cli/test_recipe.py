"""`convgate recipe`: what it prints stands in a file, and what it writes can be read."""

import json

import pytest
from typer.testing import CliRunner

from convgate.cli import app
from convgate.train.recipe import FOLDER, load_recipe


def convgate(*words):
    return CliRunner().invoke(app, ["recipe", *map(str, words)], env={"COLUMNS": "80"})


def refused(*words):
    done = convgate(*words)
    assert done.exit_code == 2 and done.stdout == ""
    return done.stderr


def test_show_prints_the_file_with_its_remarks(tmp_path):
    text = (FOLDER / "digits/demo.toml").read_text()
    assert convgate("show", "digits/demo").stdout == text
    mine = tmp_path / "mine.toml"
    mine.write_text(text)
    assert convgate("show", mine).stdout == text


def test_show_refuses_what_is_no_recipe(tmp_path):
    assert "unknown recipe 'digits/dmo'; did you mean 'digits/demo'?" in refused(
        "show", "digits/dmo"
    )
    other = tmp_path / "other.toml"
    other.write_text("a = 1\n")
    assert "unknown key 'a'" in refused("show", other)
    assert "there is no such file" in refused("show", tmp_path / "none.toml")


@pytest.mark.parametrize("like", ["cifar10/study", "pennfudan/mask_rcnn"])
def test_new_writes_a_recipe_that_trains_the_same(tmp_path, like):
    file = tmp_path / "my.toml"
    done = convgate("new", file, "--like", like)
    assert f"convgate train {file} --out run" in done.stdout
    assert load_recipe(file) == load_recipe(like)
    assert "\n#eps = 1e-08\n" in file.read_text()


def test_new_keeps_what_stands_there(tmp_path):
    file = tmp_path / "my.toml"
    file.write_text("mine")
    assert "exists already" in refused("new", file)
    assert file.read_text() == "mine"
    assert convgate("new", file, "--force").exit_code == 0
    assert load_recipe(file) == load_recipe("digits/demo")
    assert "a recipe's name ends in .toml" in refused("new", tmp_path / "my.txt")
    assert "there is no folder" in refused("new", tmp_path / "none" / "my.toml")
    assert "unknown recipe" in refused("new", tmp_path / "b.toml", "--like", "none")
    assert not (tmp_path / "b.toml").exists()


def test_keys_are_found_by_a_part_of_their_name():
    rows = json.loads(convgate("keys", "warmup", "--json").stdout)
    expected = ["schedule.warmup_epochs", "schedule.warmup_updates", "schedule.warmup_lr"]
    assert [row["key"] for row in rows if row["key"].startswith("schedule.")] == expected
    assert rows[0]["type"] == "whole number" and rows[0]["default"] == "0"
    shown = convgate("keys", "optimizer.lr").stdout
    assert "required" in shown and all(len(line) <= 80 for line in shown.splitlines())
    assert "no key holds 'lrate'" in refused("keys", "lrate")
