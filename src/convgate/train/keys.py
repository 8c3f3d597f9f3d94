"""What a recipe may say: every key with its type, its default and its meaning, and a recipe of all.

The meaning is the comment above or beside a field of the recipe's dataclasses and stands nowhere
else, so that a new field is found by itself.
"""

import ast
import inspect
import re
import textwrap
import tokenize
import tomllib
import types
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, fields, is_dataclass
from functools import cache
from typing import Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from convgate.spec import literal, to_table
from convgate.train.recipe import FOLDER, Recipe

REQUIRED = "required"
CLASSES_ONLY = ("augment", "study")
OBJECTS_ONLY = ("detector", "augment_objects")
_ONE = {int: "whole number", float: "number", str: "text", bool: "true or false"}
_MANY = {int: "whole numbers", float: "numbers", str: "texts"}
_SUCH_AS = re.compile(r",? such as (\S.*)$")


@dataclass(frozen=True, kw_only=True)
class Key:
    """One key of a recipe.

    Args:
        section: the table it stands in, such as "optimizer"; empty at the top.
        name: of the key in its section.
        kind: what it holds, in words.
        default: as TOML, `REQUIRED`, or empty where leaving the key out means something of its own.
        meaning: what it decides, with its unit.
        example: a value as TOML: that of a packaged recipe, or of the meaning's "such as", or the
            default.
    """

    section: str
    name: str
    kind: str
    default: str
    meaning: str
    example: str

    @property
    def dotted(self) -> str:
        """The key as `--set` takes it."""
        return f"{self.section}.{self.name}".lstrip(".")


def list_sections() -> dict[str, type[Any]]:
    """Return the tables of a recipe by name, each with the dataclass that describes it."""
    found = {name: _record(hint) for name, hint in get_type_hints(Recipe).items()}
    return {name: kind for name, kind in found.items() if kind is not None}


def list_keys() -> list[Key]:
    """Return every key of a recipe, first those that stand in no table."""
    sections = list_sections()
    top = [key for key in _keys(Recipe, "") if key.name not in sections]
    return top + [key for name, kind in sections.items() for key in _keys(kind, name)]


def about_section(name: str) -> str:
    """Return what a table is for, on one line."""
    text = inspect.getdoc(list_sections()[name]) or ""
    return " ".join(text.replace("``", "`").split())


def commented(recipe: Recipe) -> str:
    """Write a recipe as TOML with the other keys of its task behind "#", each with its meaning."""
    left_out = OBJECTS_ONLY if recipe.task.name == "classify" else CLASSES_ONLY
    table = to_table(recipe)
    keys = [key for key in list_keys() if key.section not in left_out]
    lines = [
        "# Keys behind a # have the value that is written there; take the # away to change it."
    ]
    section = ""
    for key in keys:
        if key.section != section:
            section = key.section
            off = "" if section in table else "#"
            lines += ["", "", *_wrapped(about_section(section)), f"{off}[{section}]"]
        lines += ["", *_wrapped(f"{key.kind}: {key.meaning}"), _line(key, table)]
    return "\n".join(lines) + "\n"


def _line(key: Key, table: dict[str, Any]) -> str:
    """Return "key = value", behind "#" where the recipe leaves the key at its default."""
    entries = table.get(key.section, {}) if key.section else table
    if key.name in entries and literal(entries[key.name]) != key.default:
        return f"{key.name} = {literal(entries[key.name])}"
    value = key.example if key.default in ("", '""', REQUIRED) else key.default
    return f"#{key.name} = {value}"


def _wrapped(text: str) -> list[str]:
    return textwrap.wrap(text, 92, initial_indent="# ", subsequent_indent="# ")


def _keys(kind: type[Any], section: str) -> Iterator[Key]:
    hints, meanings = get_type_hints(kind), comments(kind)
    for field in fields(kind):
        default, meaning = _default(field), meanings.get(field.name, "")
        named = _SUCH_AS.search(meaning)
        used = _used().get(f"{section}.{field.name}".lstrip("."))
        yield Key(
            section=section,
            name=field.name,
            kind=_words(hints[field.name]),
            default=default,
            meaning=meaning,
            example=used or (named.group(1) if named else default),
        )


def comments(kind: type[Any]) -> dict[str, str]:
    """Return the comment of each field of a class: the lines above it, then the one beside it."""
    text = textwrap.dedent(inspect.getsource(kind))
    lines = iter(text.splitlines(keepends=True))
    tokens = tokenize.generate_tokens(lambda: next(lines, ""))
    written = {t.start[0]: t for t in tokens if t.type == tokenize.COMMENT}
    alone = {line for line, token in written.items() if token.line.lstrip().startswith("#")}
    found: dict[str, str] = {}
    for node in cast(ast.ClassDef, ast.parse(text).body[0]).body:
        if isinstance(node, ast.AnnAssign) and isinstance(node.target, ast.Name):
            first = node.lineno
            while first - 1 in alone:
                first -= 1
            own = range(first, (node.end_lineno or node.lineno) + 1)
            words = [written[line].string.lstrip("# ") for line in own if line in written]
            found[node.target.id] = " ".join(words).replace("``", "`")
    return found


@cache
def _used() -> dict[str, str]:
    """Return for each key the first value that a packaged recipe gives it, as TOML."""
    found: dict[str, str] = {}
    for path in sorted(FOLDER.rglob("*.toml")):
        for section, entries in tomllib.loads(path.read_text(encoding="utf-8")).items():
            keys = entries if section in list_sections() else {"": entries}
            for key, value in keys.items():
                found.setdefault(f"{section}.{key}".rstrip("."), literal(value))
    return found


def _default(field: Any) -> str:
    if field.default is MISSING and field.default_factory is MISSING:
        return REQUIRED
    value = field.default_factory() if field.default is MISSING else field.default
    return "" if value is None else literal(to_table(value) if is_dataclass(value) else value)


def _record(hint: Any) -> type[Any] | None:
    """Return the dataclass that a hint is, alone or beside None."""
    kinds = get_args(hint) if get_origin(hint) in (Union, types.UnionType) else (hint,)
    return next((cast(type[Any], kind) for kind in kinds if is_dataclass(kind)), None)


def _words(hint: Any) -> str:
    """Return what a key holds, in words."""
    origin, inner = get_origin(hint), get_args(hint)
    if origin in (Union, types.UnionType):
        kinds = [_words(kind) for kind in inner if kind is not types.NoneType]
        return " or ".join(dict.fromkeys(kinds))
    if origin is Literal:
        return "one of " + ", ".join(map(literal, inner))
    if origin is tuple:
        count = "" if inner[-1] is Ellipsis else f"{len(inner)} "
        words = _words(inner[0]).removeprefix("one of ")
        return f"list of {count}{_MANY.get(inner[0], 'tables' if words == 'table' else words)}"
    return _ONE.get(hint, "table")
