"""Where the files of a run lie while any node may train it: every node continues what another did.

A shared folder is written to as it is. Elsewhere a node trains in a folder of its own, takes what
was kept before, and sends every changed file after each epoch; the last checkpoint goes behind the
recipe that it needs, and the result, which says that a run is whole, goes last.
"""

import shutil
import tempfile
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from convgate.errors import InputError, without_password
from convgate.storage import LAST, RECIPE, RESULT, replacing

CHUNK = 8 * 2**20
"""Bytes that go through Ray at once, whatever the size of a file and of the object store."""


@dataclass
class OpenRun:
    """A run's folder on this node."""

    folder: Path
    save: Callable[[], None] = lambda: None  # keep what has changed


class RunFiles(Protocol):
    """The runs of all cells, for any node."""

    def check(self) -> None:
        """Ask that this node can write and read here; an `InputError` says what it lacks."""

    def open(self, name: str) -> Any:
        """Give the `OpenRun` of a cell, with all that was kept of it, for a ``with`` block."""

    def fetch(self, name: str, folder: Path) -> None:
        """Bring a finished run without its checkpoint into a folder."""


@dataclass(frozen=True)
class SharedFolder:
    """Runs in a folder that all nodes see."""

    root: Path

    def check(self) -> None:
        """See nothing to ask: a file of the driver's that every node sees is asked for."""

    @contextmanager
    def open(self, name: str) -> Iterator[OpenRun]:
        yield OpenRun(self.root / name)

    def fetch(self, name: str, folder: Path) -> None:
        if folder.exists() and folder.samefile(self.root / name):
            return
        for path in _files(self.root / name):
            if path.name != LAST:
                _copy(path, folder / path.relative_to(self.root / name))


class RemoteFiles(Protocol):
    """Files that are kept elsewhere, by their path."""

    def check(self) -> None: ...
    def list(self, name: str) -> "list[str]": ...
    def get(self, path: str, place: Path) -> None: ...
    def put(self, place: Path, path: str) -> None: ...


@dataclass(frozen=True)
class Mirrored:
    """Runs that are kept elsewhere, and trained in a folder of the node."""

    kept: RemoteFiles

    def check(self) -> None:
        self.kept.check()

    @contextmanager
    def open(self, name: str) -> Iterator[OpenRun]:
        with tempfile.TemporaryDirectory(prefix="convgate-") as here:
            mirror = _Mirror(self.kept, name, Path(here) / "run")
            mirror.take()
            yield OpenRun(mirror.folder, mirror.save)

    def fetch(self, name: str, folder: Path) -> None:
        for path in self.kept.list(name):
            if path != LAST:
                (folder / path).parent.mkdir(parents=True, exist_ok=True)
                self.kept.get(f"{name}/{path}", folder / path)


@dataclass
class _Mirror:
    kept: RemoteFiles
    name: str
    folder: Path
    known: dict[Path, tuple[int, int]] = field(default_factory=dict)  # size and time of change

    def take(self) -> None:
        for path in self.kept.list(self.name):
            (self.folder / path).parent.mkdir(parents=True, exist_ok=True)
            self.kept.get(f"{self.name}/{path}", self.folder / path)
        self.known = {path: _state(path) for path in _files(self.folder)}

    def save(self) -> None:
        for path in sorted(_files(self.folder), key=_order):
            if self.known.get(path) != (now := _state(path)):
                self.kept.put(path, f"{self.name}/{path.relative_to(self.folder)}")
                self.known[path] = now


def _order(path: Path) -> int:
    return {RECIPE: 0, LAST: 2, RESULT: 3}.get(path.name, 1)


def _state(path: Path) -> tuple[int, int]:
    found = path.stat()
    return found.st_size, found.st_mtime_ns


def _files(folder: Path) -> list[Path]:
    return [p for p in folder.rglob("*") if p.is_file() and not p.name.endswith(".part")]


def _copy(source: Path, target: Path) -> None:
    target.parent.mkdir(parents=True, exist_ok=True)
    with source.open("rb") as read, replacing(target) as write:
        shutil.copyfileobj(read, write)


def open_files(address: str) -> RunFiles:
    """Return the runs at a folder that all nodes share, or at an address such as s3://bucket/path.

    Raises:
        InputError: for an address that pyarrow cannot open.
    """
    if "://" not in address:
        return SharedFolder(Path(address).absolute())
    import pyarrow
    import pyarrow.fs

    try:
        system, root = pyarrow.fs.FileSystem.from_uri(address)
    except (ValueError, OSError, pyarrow.ArrowInvalid) as error:
        raise _complaint(address, "opened", error) from None
    if isinstance(system, pyarrow.fs.LocalFileSystem):
        return SharedFolder(Path(root))
    return Mirrored(ObjectStorage(address))


def _complaint(address: str, what: str, error: Exception) -> InputError:
    reason = without_password(str(error).splitlines()[0])
    return InputError(f"--storage-path {without_password(address)}: cannot be {what} ({reason})")


@dataclass(frozen=True)
class ObjectStorage:
    """Files at an address of pyarrow's, where a file appears whole or not at all."""

    address: str

    def check(self) -> None:
        """Write a file, read it, and remove it.

        Raises:
            InputError: for a bucket, a server or a key that does not take it.
        """
        name = f".written-{uuid.uuid4().hex}"
        try:
            with tempfile.TemporaryDirectory(prefix="convgate-") as folder:
                here, back = Path(folder) / name, Path(folder) / "back"
                here.write_text(name)
                self.put(here, name)
                self.get(name, back)
            system, path = self._open(name)
            system.delete_file(path)
        except OSError as error:
            raise _complaint(self.address, "written and read", error) from None

    def _open(self, path: str) -> tuple[Any, str]:
        import pyarrow.fs

        system, root = pyarrow.fs.FileSystem.from_uri(self.address)
        return system, f"{root}/{path}"

    def list(self, name: str) -> "list[str]":
        import pyarrow.fs

        system, root = self._open(name)
        selector = pyarrow.fs.FileSelector(root, allow_not_found=True, recursive=True)
        infos = system.get_file_info(selector)
        return [info.path.removeprefix(f"{root}/") for info in infos if info.is_file]

    def get(self, path: str, place: Path) -> None:
        system, source = self._open(path)
        with system.open_input_stream(source) as read, replacing(place) as write:
            shutil.copyfileobj(read, write, CHUNK)

    def put(self, place: Path, path: str) -> None:
        system, target = self._open(path)
        system.create_dir(str(Path(target).parent), recursive=True)
        with place.open("rb") as read, system.open_output_stream(target) as write:
            shutil.copyfileobj(read, write, CHUNK)


class ThroughRay:
    """Files in the driver's folder, which an actor on its node reads and writes for all others."""

    def __init__(self, actor: Any) -> None:
        self.actor = actor

    @classmethod
    def start(cls, ray: Any, folder: Path, pinned: Any) -> Mirrored:
        lives = {"max_restarts": -1, "max_task_retries": -1}  # as often as its process is killed
        keeper = ray.remote(num_cpus=0, max_concurrency=16, scheduling_strategy=pinned, **lives)(
            Keeper
        )
        return Mirrored(cls(keeper.remote(str(folder.absolute()))))

    def check(self) -> None:
        """See nothing to ask: Ray itself has brought the question."""

    def _call(self, method: str, *args: Any) -> Any:
        import ray

        return ray.get(getattr(self.actor, method).remote(*args))

    def list(self, name: str) -> "list[str]":
        return list(self._call("names", name))

    def get(self, path: str, place: Path) -> None:
        with replacing(place) as file:
            at = 0
            while chunk := self._call("read", path, at):
                at += file.write(chunk)

    def put(self, place: Path, path: str) -> None:
        token, at = uuid.uuid4().hex, 0
        self._call("write", path, token, at, b"")
        with place.open("rb") as file:
            while chunk := file.read(CHUNK):
                self._call("write", path, token, at, chunk)
                at += len(chunk)
        self._call("commit", path, token)


class Keeper:
    """Reads and writes the driver's folder of runs; whatever is asked may be asked twice."""

    def __init__(self, folder: str) -> None:
        self.folder = Path(folder)

    def names(self, name: str) -> list[str]:
        root = self.folder / name
        return [str(path.relative_to(root)) for path in _files(root)]

    def read(self, path: str, at: int) -> bytes:
        with (self.folder / path).open("rb") as file:
            file.seek(at)
            return file.read(CHUNK)

    def write(self, path: str, token: str, at: int, chunk: bytes) -> None:
        part = self._part(path, token)
        part.parent.mkdir(parents=True, exist_ok=True)
        with part.open("r+b" if part.exists() else "wb") as file:
            file.seek(at)
            file.write(chunk)

    def commit(self, path: str, token: str) -> None:
        part = self._part(path, token)
        if part.exists():
            part.replace(self.folder / path)

    def _part(self, path: str, token: str) -> Path:
        place = self.folder / path
        return place.with_name(f".{place.name}.{token}.part")
