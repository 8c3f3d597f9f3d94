import tomllib
from dataclasses import dataclass, field
from typing import Literal

import pytest

from convgate import spec
from convgate.errors import InputError


@dataclass(frozen=True, kw_only=True)
class Wheel:
    spokes: int
    kind: Literal["front", "back"] = "front"

    def __post_init__(self):
        if self.spokes < 0:
            raise InputError(f"spokes={self.spokes} must be 0 or more")


@dataclass(frozen=True, kw_only=True)
class Bicycle:
    weight_kg: float
    wheel: Wheel
    name: str = ""
    electric: bool = False
    sizes: tuple[int, ...] = ()
    span: tuple[float, float] = (0.0, 1.0)
    lamp: Wheel | None = None
    extra: dict[str, object] = field(default_factory=dict)
    words: dict[str, str] = field(default_factory=dict)


def parse(text):
    return spec.parse(Bicycle, tomllib.loads(text), name="bike.toml")


def test_reads_nested_sections_and_a_whole_number_as_a_float():
    bike = parse('weight_kg = 9\nsizes = [1, 2]\nwheel = {spokes = 32, kind = "back"}')
    assert bike == Bicycle(weight_kg=9.0, sizes=(1, 2), wheel=Wheel(spokes=32, kind="back"))
    assert isinstance(bike.weight_kg, float)
    assert bike.lamp is None


def test_reports_everything_that_is_wrong_in_one_sentence():
    with pytest.raises(InputError) as caught:
        parse('nmae = "x"\nelectric = 1\nsizes = [1, "b"]\nlamp = 3\n[wheel]\nspoke = 3\n')
    text = str(caught.value)
    assert text.startswith("bike.toml: ")
    for part in (
        "unknown key 'nmae' (did you mean 'name'?)",
        "missing key 'weight_kg'",
        "'electric' must be true or false, not 1",
        "'sizes[1]' must be a whole number, not 'b'",
        "'lamp' must be a table, not 3",
        "unknown key 'wheel.spoke' (did you mean 'wheel.spokes'?)",
        "missing key 'wheel.spokes'",
    ):
        assert part in text
    assert text.count(";") == 6


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("wheel = {spokes = 1, kind = 'left'}", "'wheel.kind' must be one of 'front', 'back'"),
        ("wheel = {spokes = 1.0}", "'wheel.spokes' must be a whole number, not 1.0"),
        ("wheel = {spokes = true}", "'wheel.spokes' must be a whole number, not True"),
        ("wheel = {spokes = 1}\nspan = [1.0]", "'span' must be a list of 2, not [1.0]"),
        ("wheel = {spokes = 1}\nsizes = 3", "'sizes' must be a list, not 3"),
        ("wheel = {spokes = 1}\nwords = {a = 1}", "'words.a' must be a text, not 1"),
        ("wheel = {spokes = -1}", "wheel.spokes=-1 must be 0 or more"),
    ],
)
def test_says_what_a_value_must_be(line, said):
    with pytest.raises(InputError) as caught:
        parse(f"weight_kg = 1.0\n{line}")
    assert said in str(caught.value)


def test_a_key_that_resembles_none_lists_the_valid_ones():
    with pytest.raises(InputError, match=r"unknown key 'wheel\.zzz' \(valid: spokes, kind\)"):
        parse("weight_kg = 1\nwheel = {spokes = 1, zzz = 2}")


def test_what_is_dumped_reads_back_equal():
    bike = Bicycle(
        weight_kg=1e-05,
        name='a "quoted" \\ line\nand ü \x7f',
        electric=True,
        wheel=Wheel(spokes=3),
        sizes=(3, 4),
        lamp=Wheel(spokes=0, kind="back"),
        extra={"deep": {"odd key": [1, 2.5, "x"], "empty": {}}, "off": False},
        words={"a.b": "c"},
    )
    again = parse(spec.dump(bike))
    assert again.extra["deep"].pop("empty", {}) == bike.extra["deep"].pop("empty")
    assert again == bike


def test_a_missing_file_and_one_that_is_not_toml_are_named(tmp_path):
    with pytest.raises(InputError, match=r"no\.toml: there is no such file"):
        spec.load(Bicycle, tmp_path / "no.toml")
    bad = tmp_path / "bad.toml"
    bad.write_text("a = = 1")
    with pytest.raises(InputError, match=r"bad\.toml: not a TOML file"):
        spec.load(Bicycle, bad)
    bad.write_bytes(b"\xff\xfe")
    with pytest.raises(InputError, match=r"bad\.toml: not a TOML file"):
        spec.load(Bicycle, bad)
