"""Every key of a recipe is described, from its own field, and a recipe of all keys can be read."""

import re
import tomllib
from dataclasses import dataclass, field, make_dataclass
from typing import Literal, get_type_hints

import pytest

from convgate import spec
from convgate.train import keys
from convgate.train.keys import REQUIRED, about_section, commented, list_keys, list_sections
from convgate.train.recipe import Recipe, list_recipes, load_recipe


@dataclass
class Sample:
    # of the paper,
    # in mm
    width: float  # and not of the frame
    name: Literal["a", "b"] = "a"

    sides: tuple[int, int] = (
        1,  # across
        2,
    )  # behind several lines
    many: tuple[str, ...] = ()
    own: dict[str, object] = field(default_factory=dict)  # ``as it is``; such as { k = 3 }
    maybe: int | None = None

    # belongs to nothing

    on: bool = True


def test_comments_belong_to_the_field_below_or_before_them():
    assert keys.comments(Sample) == {
        "width": "of the paper, in mm and not of the frame",
        "name": "",
        "sides": "across behind several lines",
        "many": "",
        "own": "`as it is`; such as { k = 3 }",
        "maybe": "",
        "on": "",
    }


def test_types_defaults_and_examples_in_words():
    found = [(k.dotted, k.kind, k.default, k.example) for k in keys._keys(Sample, "there")]
    assert found == [
        ("there.width", "number", REQUIRED, REQUIRED),
        ("there.name", 'one of "a", "b"', '"a"', '"a"'),
        ("there.sides", "list of 2 whole numbers", "[1, 2]", "[1, 2]"),
        ("there.many", "list of texts", "[]", "[]"),
        ("there.own", "table", "{}", "{ k = 3 }"),
        ("there.maybe", "whole number", "", ""),
        ("there.on", "true or false", "true", "true"),
    ]


def test_every_field_of_a_recipe_is_a_key_or_a_section():
    assert {*(k.section or k.name for k in list_keys())} == {*get_type_hints(Recipe)}
    assert {k.dotted for k in list_keys()} >= {"source", "optimizer.lr", "detector.options"}


@pytest.mark.parametrize("key", list_keys(), ids=lambda key: key.dotted)
def test_a_key_has_a_meaning_and_an_example_of_its_type(key):
    assert len(key.meaning) > 10, f"write what {key.dotted} means in a comment beside its field"
    kind = list_sections().get(key.section, Recipe)
    one = make_dataclass("one", [(key.name, get_type_hints(kind)[key.name])])
    spec.parse(one, tomllib.loads(f"{key.name} = {key.example}"), name=key.dotted)


@pytest.mark.parametrize("section", list_sections())
def test_a_section_is_described_by_its_own_words(section):
    assert about_section(section).endswith(".")
    assert "(" not in about_section(section).split()[0]  # what dataclass writes by itself


@pytest.mark.parametrize("name", list_recipes())
def test_a_commented_recipe_is_the_recipe_and_holds_all_other_keys(name):
    recipe = load_recipe(name)
    text = commented(recipe)
    assert spec.parse(Recipe, tomllib.loads(text), name=name) == recipe
    everything = tomllib.loads(re.sub(r"^#(?=\S)", "", text, flags=re.M))
    spec.parse(Recipe, everything, name=name)
    written = {k.dotted for k in list_keys() if k.name in everything.get(k.section, everything)}
    other = keys.OBJECTS_ONLY if recipe.task.name == "classify" else keys.CLASSES_ONLY
    assert written == {k.dotted for k in list_keys() if k.section not in other}
    assert max(map(len, text.splitlines())) <= 100 or recipe.note
