"""Strict dataclasses from TOML, and TOML from dataclasses.

A file is checked as a whole: unknown, missing and mistyped keys are reported together.
"""

import json
import math
import tomllib
import types
from collections.abc import Mapping
from dataclasses import MISSING, asdict, fields, is_dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Any, Literal, TypeVar, Union, cast, get_args, get_origin, get_type_hints

from convgate.errors import InputError

T = TypeVar("T")


class _Wrong(Exception):
    """A value of the wrong type; the message says what was expected."""


def load(kind: type[T], path: Path, *, name: str | None = None) -> T:
    """Read the TOML file ``path`` into the dataclass ``kind``."""
    name = name or str(path)
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise InputError(f"{name}: there is no such file") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"{name}: not a TOML file: {error}") from None
    except RecursionError:
        raise InputError(f"{name}: its lists or tables are nested too deeply") from None
    return parse(kind, table, name=name)


def parse(kind: type[T], table: Mapping[str, object], *, name: str) -> T:
    """Build the dataclass ``kind`` from a table."""
    problems: list[str] = []
    built = _section(kind, table, "", problems)
    if problems:
        raise InputError(f"{name}: {'; '.join(problems)}")
    return cast(T, built)


def _section(kind: type[Any], table: Mapping[str, object], at: str, problems: list[str]) -> object:
    hints = get_type_hints(kind)
    known = {field.name: field for field in fields(kind)}
    found = len(problems)
    problems += [_unknown_key(at, key, known) for key in table if key not in known]
    values: dict[str, object] = {}
    for key, field in known.items():
        if key in table:
            values[key] = _value(hints[key], table[key], f"{at}{key}", problems)
        elif field.default is MISSING and field.default_factory is MISSING:
            problems.append(f"missing key {at + key!r}")
    if len(problems) > found:
        return None
    try:
        return kind(**values)
    except InputError as error:  # a value of the right type that the dataclass itself refuses
        problems.append(str(error) if str(error).startswith("[") else f"{at}{error}")
        return None


def _unknown_key(at: str, key: str, known: Mapping[str, object]) -> str:
    near = get_close_matches(key, list(known), n=1, cutoff=0.5)
    hint = f"did you mean {at + near[0]!r}?" if near else f"valid: {', '.join(known)}"
    return f"unknown key {at + key!r} ({hint})"


def _value(hint: Any, value: object, at: str, problems: list[str]) -> object:
    try:
        return _convert(hint, value, at, problems)
    except _Wrong as wrong:
        problems.append(f"{at!r} must be {wrong}, not {value!r}")
        return None


def _convert(hint: Any, value: object, at: str, problems: list[str]) -> object:
    if is_dataclass(hint):
        if not isinstance(value, Mapping):
            raise _Wrong("a table")
        return _section(cast(type[Any], hint), value, f"{at}.", problems)
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        return _convert(_member(inner, value), value, at, problems)
    if origin is Literal:
        if value not in inner:
            raise _Wrong(f"one of {', '.join(map(repr, inner))}")
        return value
    if origin is tuple:
        return _items(inner, value, at, problems)
    if origin is dict:
        return _entries(inner[1], value, at, problems)
    return _scalar(hint, value)


def _member(kinds: tuple[Any, ...], value: object) -> Any:
    """Return which kind a value should be: a list's, a table's, or the first; TOML has no null."""
    some = [kind for kind in kinds if kind is not types.NoneType]
    own = (
        tuple if isinstance(value, (list, tuple)) else dict if isinstance(value, Mapping) else None
    )
    return next((kind for kind in some if get_origin(kind) is own), some[0])


def _entries(hint: Any, value: object, at: str, problems: list[str]) -> object:
    if not isinstance(value, Mapping):
        raise _Wrong("a table")
    return {key: _value(hint, item, f"{at}.{key}", problems) for key, item in value.items()}


def _items(inner: tuple[Any, ...], value: object, at: str, problems: list[str]) -> object:
    if not isinstance(value, (list, tuple)):
        raise _Wrong("a list")
    if inner[-1] is Ellipsis:
        inner = (inner[0],) * len(value)
    if len(inner) != len(value):
        raise _Wrong(f"a list of {len(inner)}")
    pairs = enumerate(zip(inner, value, strict=True))
    return tuple(_value(hint, item, f"{at}[{i}]", problems) for i, (hint, item) in pairs)


_WORDS = {int: "a whole number", float: "a number", str: "a text", bool: "true or false"}


def _scalar(hint: Any, value: object) -> object:
    if hint not in _WORDS:  # `object`: whatever TOML holds
        return _sized(value)
    if hint is float and isinstance(value, int) and not isinstance(value, bool):
        return float(_sized(value))
    if not isinstance(value, hint) or (hint is int and isinstance(value, bool)):
        raise _Wrong(_WORDS[hint])
    return _sized(value)


def _sized(value: Any) -> Any:
    """Ask that numbers are some, and that whole ones fit into 64 bits, as all that takes them."""
    if isinstance(value, int) and not -(2**63) <= value < 2**63:
        raise _Wrong("a whole number below 2^63")
    if isinstance(value, float) and math.isnan(value):
        raise _Wrong("a number")
    for inner in (
        value.values() if isinstance(value, dict) else value if isinstance(value, list) else ()
    ):
        _sized(inner)
    return value


def to_table(spec: object) -> dict[str, Any]:
    """Return a dataclass as nested dictionaries, without what is None."""
    return cast(dict[str, Any], _without_none(asdict(cast(Any, spec))))


def _without_none(value: object) -> object:
    if isinstance(value, dict):
        return {k: _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_without_none, value))
    return value


def dump(spec: object) -> str:
    """Write a dataclass as TOML that `parse` reads back to an equal one."""
    return "\n".join(_lines(to_table(spec), "")).strip() + "\n"


def _lines(table: Mapping[str, Any], at: str) -> list[str]:
    plain = {k: v for k, v in table.items() if not isinstance(v, Mapping)}
    lines = ["", f"[{at}]"] if at else []
    lines += [f"{_key(k)} = {literal(v)}" for k, v in plain.items()]
    for key, value in table.items():
        if isinstance(value, Mapping) and value:
            lines += _lines(value, f"{at}.{_key(key)}" if at else _key(key))
    return lines


def _key(key: str) -> str:
    return key if key.replace("_", "").replace("-", "").isalnum() and key.isascii() else _text(key)


def literal(value: object) -> str:
    """Return a value as TOML writes it on one line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return _text(value)
    if isinstance(value, (list, tuple)):
        return f"[{', '.join(map(literal, value))}]"
    if isinstance(value, Mapping):  # in a list
        return f"{{{', '.join(f'{_key(k)} = {literal(v)}' for k, v in value.items())}}}"
    return repr(value)


def _text(value: str) -> str:
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def changes(old: Mapping[str, Any], new: Mapping[str, Any]) -> dict[str, tuple[object, object]]:
    """Return the dotted keys in which two tables differ, with both values; None for an absent one.

    Both are tables as `to_table` makes them.
    """
    before, now = _flat(old), _flat(new)
    keys = sorted(before.keys() | now.keys())
    return {k: (before.get(k), now.get(k)) for k in keys if before.get(k) != now.get(k)}


def show_changes(found: Mapping[str, tuple[object, object]], most: int = 3) -> str:
    """Return e.g. "optimizer.lr was 0.1, is 0.2; and 2 more"."""
    named = [f"{key} was {old!r}, is {new!r}" for key, (old, new) in found.items()]
    return "; ".join(named[:most] + ([f"and {len(named) - most} more"] if named[most:] else []))


def _flat(table: Mapping[str, Any], at: str = "") -> dict[str, Any]:
    flat: dict[str, Any] = {}
    for key, value in table.items():
        if isinstance(value, Mapping):
            flat |= _flat(value, f"{at}{key}.")
        else:
            flat[f"{at}{key}"] = list(value) if isinstance(value, tuple) else value
    return flat
