"""Names to factories, with presets, strict options and a "did you mean"."""

import inspect
from collections.abc import Callable, Iterator
from typing import Any, Generic, TypeVar

from convgate.errors import InputError, suggest, unknown

T = TypeVar("T")
F = TypeVar("F", bound=Callable[..., Any])


class Registry(Generic[T]):
    """Published names and what builds them; iterating gives the names in order."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self._entries: dict[str, tuple[Callable[..., T], dict[str, Any]]] = {}

    def register(self, name: str, **preset: Any) -> Callable[[F], F]:
        """Enter a class or function under ``name``; ``preset`` changes its defaults."""

        def enter(factory: F) -> F:
            if name in self._entries:
                raise ValueError(f"{self.kind} {name!r} is registered twice")
            self._entries[name] = (factory, preset)
            return factory

        return enter

    def create(self, name: str, *args: Any, **options: Any) -> T:
        factory, preset = self._entry(name)
        valid = self.options(name)
        for option in options:
            if option not in valid:
                raise InputError(f"{name}: unknown option {option!r}{suggest(option, valid)}")
        return factory(*args, **{**preset, **options})

    def options(self, name: str) -> dict[str, Any]:
        """Return the keyword options of ``name`` with their defaults."""
        factory, preset = self._entry(name)
        parameters = inspect.signature(factory).parameters.values()
        return {p.name: p.default for p in parameters if p.kind is p.KEYWORD_ONLY} | preset

    def factory(self, name: str) -> Callable[..., T]:
        return self._entry(name)[0]

    def _entry(self, name: str) -> tuple[Callable[..., T], dict[str, Any]]:
        if name not in self._entries:
            raise unknown(self.kind, name, self._entries)
        return self._entries[name]

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __len__(self) -> int:
        return len(self._entries)
