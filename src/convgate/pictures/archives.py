"""Files below a folder or inside a zip archive, read in place; nothing is ever extracted."""

import os
import stat
import zipfile
from bisect import bisect_left
from pathlib import Path
from typing import Protocol

from convgate.errors import CorruptFile, InputError

MAX_FILE_BYTES = 1 << 28  # no picture within the pixel limit needs more
_STEP_BYTES = 1 << 16  # unpacked at once
_METHODS = (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED)  # zipfile unpacks these alone in small steps


class Tree(Protocol):
    """Files under folders, named by relative paths with forward slashes."""

    where: str

    def folders(self, parent: str) -> list[str]:
        """Return the names of the folders directly in ``parent`` ("" is the top)."""

    def files(self, parent: str) -> list[str]:
        """Return the paths of all files below ``parent`` ("" is the top), in order."""

    def read(self, name: str, limit: int | None = None) -> bytes:
        """Return the content of one file; above ``limit`` bytes (256 MiB) it is refused."""


class FolderTree:
    """A tree on disk. Hidden files are left out; links to folders are followed once.

    A link to a folder that it lies in is a loop and ends there; one to a folder that holds the
    whole tree, such as /, is refused.
    """

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._root = path

    def folders(self, parent: str) -> list[str]:
        try:
            with os.scandir(self._root / parent) as entries:
                return sorted(e.name for e in entries if e.is_dir() and not e.name.startswith("."))
        except OSError as problem:
            raise _unlisted(problem) from None

    def files(self, parent: str) -> list[str]:
        found: list[str] = []
        seen: set[str] = set()
        for folder, below, names in os.walk(self._root / parent, onerror=_stop, followlinks=True):
            real = os.path.realpath(folder)
            if real in seen or self._is_loop(folder, real):
                below.clear()
                continue
            seen.add(real)
            below[:] = [name for name in below if not name.startswith(".")]
            inside = Path(folder).relative_to(self._root)
            found += [(inside / name).as_posix() for name in names if not name.startswith(".")]
        return sorted(found)

    def _is_loop(self, folder: str, real: str) -> bool:
        above = Path(os.path.realpath(os.path.dirname(folder)))
        if not os.path.islink(folder) or not above.is_relative_to(real):
            return False
        root = Path(os.path.realpath(self._root))
        if root != Path(real) and root.is_relative_to(real):
            raise InputError(
                f"{folder}: links to {real}, which holds {self.where}; remove the link"
            )
        return True

    def read(self, name: str, limit: int | None = None) -> bytes:
        return read_file(self._root / name, limit or MAX_FILE_BYTES)


def read_file(path: Path, limit: int = MAX_FILE_BYTES) -> bytes:
    """Return the content of a regular file of at most ``limit`` bytes.

    Raises:
        CorruptFile: for a pipe or a device, which may never end, and for what cannot be read.
    """
    try:
        if not stat.S_ISREG(path.stat().st_mode):
            raise CorruptFile(f"{path}: refused, it is no regular file")
        with path.open("rb") as file:
            content = file.read(limit + 1)
    except OSError as problem:
        raise CorruptFile(f"{path}: cannot be read ({problem.strerror})") from None
    if len(content) > limit:
        raise CorruptFile(f"{path}: refused, over {limit >> 20} MiB")
    return content


class ZipTree:
    """A tree in a zip archive, read in place."""

    def __init__(self, path: Path) -> None:
        self.where = str(path)
        self._open: tuple[int, zipfile.ZipFile] | None = None
        self._files: list[str] = []
        self._folders: dict[str, set[str]] = {}
        for info in self._archive().infolist():
            self._enter(info)
        self._files.sort()

    def _archive(self) -> zipfile.ZipFile:
        # A forked worker shares its parent's file position, so every process opens its own.
        if self._open is None or self._open[0] != os.getpid():
            try:
                self._open = os.getpid(), zipfile.ZipFile(self.where)
            except (zipfile.BadZipFile, OSError, ValueError) as problem:
                raise CorruptFile(f"{self.where}: damaged zip archive ({problem})") from None
        return self._open[1]

    def _enter(self, info: zipfile.ZipInfo) -> None:
        name = info.filename
        parts = name.rstrip("/").split("/")
        if name.startswith("/") or "\\" in name or ".." in parts or ":" in parts[0]:
            raise CorruptFile(f"{self.where}: refused, entry {name!r} points outside the archive")
        if any(part.startswith((".", "__MACOSX")) for part in parts):
            return
        folders = parts if info.is_dir() else parts[:-1]
        for depth, folder in enumerate(folders):
            self._folders.setdefault("/".join(folders[:depth]), set()).add(folder)
        if info.is_dir():
            return
        if info.compress_type not in _METHODS:
            raise InputError(
                f"{self.where}: {name} is packed by neither store nor deflate, the "
                "methods that are read; pack the archive again"
            )
        self._files.append(name)

    def folders(self, parent: str) -> list[str]:
        return sorted(self._folders.get(parent, ()))

    def files(self, parent: str) -> list[str]:
        if not parent:
            return list(self._files)
        first = bisect_left(self._files, f"{parent}/")
        return self._files[first : bisect_left(self._files, f"{parent}0")]  # "0" follows "/"

    def read(self, name: str, limit: int | None = None) -> bytes:
        archive, limit = self._archive(), limit or MAX_FILE_BYTES
        if archive.getinfo(name).file_size > limit:
            raise CorruptFile(f"{self.where}/{name}: refused, over {limit >> 20} MiB")
        try:
            with archive.open(name) as file:  # in steps: it may hold more than the directory says
                return b"".join(iter(lambda: file.read(_STEP_BYTES), b""))
        except Exception as problem:  # every compression method has errors of its own
            raise CorruptFile(f"{self.where}/{name}: cannot be unpacked ({problem})") from None

    def __getstate__(self) -> dict[str, object]:
        return self.__dict__ | {"_open": None}


def _unlisted(problem: OSError) -> InputError:
    return InputError(f"{problem.filename}: cannot be listed ({problem.strerror})")


def _stop(problem: OSError) -> None:
    raise _unlisted(problem)


def open_tree(path: Path) -> Tree:
    if path.is_dir():
        return FolderTree(path)
    if not path.exists():
        raise InputError(f"{path}: no such folder or zip archive; give the path of the pictures")
    if not path.is_file() or not zipfile.is_zipfile(path):
        raise CorruptFile(f"{path}: neither a folder nor a whole zip archive (cut short?)")
    return ZipTree(path)
