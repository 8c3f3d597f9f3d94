"""Write a file, a pair of files or a folder whole, or leave nothing behind."""

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from convgate.errors import InputError


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """Give an empty folder beside ``target``, and take it away at the end, whatever happened.

    Raises:
        InputError: if the folder that shall hold ``target`` does not exist.
    """
    if not target.parent.is_dir():
        raise InputError(f"{target}: there is no folder {target.parent}; create it")
    part = target.with_name(f".{target.name}.part")
    shutil.rmtree(part, ignore_errors=True)
    part.mkdir()
    try:
        yield part
    finally:
        shutil.rmtree(part, ignore_errors=True)


def check_new_folder(folder: Path) -> None:
    """Ask that ``folder`` is not there, or empty.

    Raises:
        InputError: if it is a file or holds something.
    """
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists():
        raise InputError(f"{folder}: exists already; choose a new folder or empty this one")
