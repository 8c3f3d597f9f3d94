import pytest

from convgate.errors import InputError
from convgate.registry import Registry


class Thing:
    def __init__(self, size, *, colour="red", count=1):
        self.size, self.colour, self.count = size, colour, count


@pytest.fixture
def things():
    made = Registry("thing")
    made.register("many", count=9)(Thing)
    made.register("one")(Thing)
    return made


def test_create(things):
    thing = things.create("one", 3, colour="blue")
    assert (thing.size, thing.colour, thing.count) == (3, "blue", 1)


def test_a_preset_changes_a_default_and_yields_to_an_option(things):
    assert things.create("many", 3).count == 9
    assert things.create("many", 3, count=2).count == 2
    assert things.options("many") == {"colour": "red", "count": 9}
    assert things.options("one") == {"colour": "red", "count": 1}


def test_names_are_sorted(things):
    things.register("apple")(Thing)
    assert list(things) == ["apple", "many", "one"]
    assert len(things) == 3
    assert "apple" in things
    assert "pear" not in things


def test_register_returns_what_it_was_given(things):
    assert things.register("again")(Thing) is Thing
    assert things.factory("again") is Thing


def test_unknown_name(things):
    for ask in (things.create, things.options, things.factory):
        with pytest.raises(InputError, match=r"^unknown thing 'mony'; did you mean 'many'\?$"):
            ask("mony")


def test_unknown_option(things):
    with pytest.raises(InputError, match=r"^one: unknown option 'color'; did you mean 'colour'\?$"):
        things.create("one", 3, color="blue")


def test_a_positional_argument_is_not_an_option(things):
    with pytest.raises(InputError, match="one: unknown option 'size'"):
        things.create("one", size=3)


def test_a_name_is_taken_once(things):
    with pytest.raises(ValueError, match="thing 'one' is registered twice"):
        things.register("one")(Thing)


def test_an_empty_registry_says_so():
    with pytest.raises(InputError, match=r"^unknown thing 'one'; there is none$"):
        Registry("thing").create("one")


def test_an_option_of_another_type_is_refused_by_its_name(things):
    @things.register("typed")
    def typed(size, *, count: int = 1, rate: float = 0.5, on: bool = False, free=None):
        return (count, rate, on, free)

    assert things.create("typed", 3, count=2, rate=1, on=True, free="x") == (2, 1, True, "x")
    for option, value, kind in (
        ("count", "abc", "a whole number"),
        ("count", 2.5, "a whole number"),
        ("count", True, "a whole number"),
        ("rate", "abc", "a number"),
        ("on", 1, "true or false"),
    ):
        with pytest.raises(InputError) as caught:
            things.create("typed", 3, **{option: value})
        assert str(caught.value) == f"typed: {option}={value!r} must be {kind}"


def test_a_number_or_none_is_one_of_them(things):
    @things.register("maybe")
    def _(size, *, width: int | None = None):
        return size, width

    assert things.create("maybe", 3, width=None) == (3, None)
    assert things.create("maybe", 3, width=4) == (3, 4)
    with pytest.raises(InputError, match="maybe: width='4' must be a whole number"):
        things.create("maybe", 3, width="4")


def test_parts_of_the_package_that_a_file_names_are_no_choice():
    """A search's network holds a gate of convgate.searches, which nobody inserts by hand."""
    from convgate.gates import GATES

    GATES.load("convgate.searches.paths:Paths")
    assert "convgate.searches.paths:Paths" in GATES
    assert not [name for name in GATES if ":" in name and name.startswith("convgate")]
    assert len(GATES) == len(list(GATES))
