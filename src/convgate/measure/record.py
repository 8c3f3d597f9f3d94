"""Every result of this package is a frozen record that turns into plain JSON types."""

from dataclasses import dataclass, fields
from typing import Any


@dataclass(frozen=True)
class Record:
    """The frozen dataclasses of this package: `to_dict` gives what `json.dumps` takes."""

    def to_dict(self) -> dict[str, Any]:
        """Return the fields by name; records become dicts and tuples become lists."""
        return {field.name: _plain(getattr(self, field.name)) for field in fields(self)}


def _plain(value: Any) -> Any:
    if isinstance(value, Record):
        return value.to_dict()
    if isinstance(value, dict):
        return {str(key): _plain(entry) for key, entry in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(entry) for entry in value]
    return value
