"""What a search has found before its trainings in full, for machines that share a server only.

The machine that finds it first says what counts; the others take its files in place of their own.
"""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

from convgate import spec
from convgate.errors import InputError
from convgate.storage import write_text
from convgate.studies.postgres import PostgresStore, database_url

STUDY = "study"
"""What follows an address as in ?study=NAME: the name of the study there."""


def on_server(storage: str | None) -> bool:
    """Tell whether an address is of a server, and not of a file."""
    return storage is not None and database_url(storage).get_backend_name() == "postgresql"


def named(storage: str, name: str) -> str:
    """Return the address with the name of a study that it does not give itself."""
    url = database_url(storage)
    first = url.query.get(STUDY)
    query = {STUDY: f"{first}/{name}" if first else name}
    return url.update_query_dict(query).render_as_string(hide_password=False)


class SharedFindings:
    """The files of a search on a server.

    Args:
        storage: The server, as in `run_study`; the search is there under its folder's name.
        folder: The folder of the search on this machine.
        plan: What is searched, in plain JSON types.
        say: Called with a line for the user while the server does not answer.

    Raises:
        InputError: if the server has another search of this name.
    """

    def __init__(
        self, storage: str, folder: Path, plan: dict[str, Any], say: Callable[[str], object]
    ) -> None:
        self.folder = folder
        self.store = PostgresStore(database_url(named(storage, folder.name)), "search", say)
        known = self.store.alone(lambda: self._attribute("plan", plan))
        if known != plan:
            self.store.close()
            changes = spec.show_changes(spec.changes(known, plan))
            raise InputError(
                f"--storage {self.store.shown} has another search under the name "
                f"{self.store.name} ({changes}); give a folder of another name to --out"
            )

    def close(self) -> None:
        self.store.close()

    def take(self, asked: dict[str, Any]) -> bool:
        """Write the files that the server has for these limits; tell whether it has any."""
        found = self.store.read(lambda: self.store.study.user_attrs.get(_key(asked)))
        return found is not None and self._write(found)

    def give(self, asked: dict[str, Any], names: tuple[str, ...]) -> bool:
        """Offer this folder's files; False where another machine's count, now in the folder."""
        mine = {name: (self.folder / name).read_text(encoding="utf-8") for name in names}
        found = self.store.alone(lambda: self._attribute(_key(asked), mine))
        return found == mine or not self._write(found)

    def _attribute(self, key: str, value: Any) -> Any:
        """Return what the server has under a key, which is the value where it has nothing."""
        study = self.store.study
        if key not in study.user_attrs:
            study.set_user_attr(key, value)
        return study.user_attrs[key]

    def _write(self, files: dict[str, str]) -> bool:
        for name, text in files.items():
            write_text(self.folder / Path(name).name, text)
        return True


def _key(asked: dict[str, Any]) -> str:
    return f"found {json.dumps(asked, sort_keys=True)}"
