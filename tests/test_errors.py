import pytest

from convgate.errors import (
    CorruptFile,
    InputError,
    printable,
    suggest,
    unknown,
    without_password,
)


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


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("Straße 4 – 鸟.jpg", "Straße 4 – 鸟.jpg"),
        ("\x1b[31mred\x1b[0m.jpg", r"\x1b[31mred\x1b[0m.jpg"),
        ("\x1b]0;title\x07.jpg", r"\x1b]0;title\x07.jpg"),
        ("a\nconvgate: all is well", r"a\nconvgate: all is well"),
        ("a\r\t\x9b\u202egpj.exe", r"a\r\t\x9b\u202egpj.exe"),  # \u202e writes from right to left
        ("\udcff.jpg", r"\udcff.jpg"),  # a byte of a name that is no UTF-8
    ],
)
def test_a_name_is_printed_without_what_moves_colours_or_hides(text, shown):
    assert printable(text) == shown
    assert str(CorruptFile(f"{text}: damaged")) == f"{shown}: damaged"


@pytest.mark.parametrize(
    ("word", "shown"),
    [
        ("postgresql+psycopg://ann:geheim@host/db", "postgresql+psycopg://ann:***@host/db"),
        ("--storage=postgresql://ann:g@h:e/im@host/db", "--storage=postgresql://ann:***@host/db"),
        (
            "postgresql://ann@host/db?password=geheim&a=1",
            "postgresql://ann@host/db?password=***&a=1",
        ),
        ("sqlite:///study.db", "sqlite:///study.db"),
        ("user@host:folder", "user@host:folder"),
    ],
)
def test_an_address_is_shown_without_its_password(word, shown):
    assert without_password(word) == shown
