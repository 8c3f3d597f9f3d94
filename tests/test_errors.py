import pytest

from convgate.errors import CorruptFile, InputError, suggest, unknown


def test_the_tree():
    assert issubclass(InputError, ValueError)
    assert issubclass(CorruptFile, InputError)


@pytest.mark.parametrize(
    ("name", "choices", "sentence"),
    [
        ("selm", ["eca", "seln"], "; did you mean 'seln'?"),
        ("zzz", ["seln", "eca"], "; choose from eca, seln"),
        ("zzz", [], "; there is none"),
        ("selm", (name for name in ["eca", "seln"]), "; did you mean 'seln'?"),
    ],
)
def test_suggest(name, choices, sentence):
    assert suggest(name, choices) == sentence


def test_unknown_names_the_kind_the_value_and_the_way_out():
    error = unknown("gate", "selm", ["seln"])
    assert isinstance(error, InputError)
    assert str(error) == "unknown gate 'selm'; did you mean 'seln'?"
