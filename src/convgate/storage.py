"""Files of a run that survive a crash: written whole or not at all, read as data and never as code.

Every file is written beside its place, flushed to the disk, and then renamed over the old one.
"""

import csv
import errno
import fcntl
import io
import json
import os
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, Any

import safetensors
import safetensors.torch
import torch
from torch import Tensor

from convgate.errors import CorruptFile, InputError

LAST = "last.ckpt"
WEIGHTS = "weights.safetensors"
ADAPTER = "adapter.safetensors"
RECIPE = "recipe.toml"
RESULT = "result.json"
STATE = "convgate"
"""The key of a checkpoint under which a run keeps its recipe and its epochs."""
_PREFIX = "model."


@contextmanager
def replacing(path: Path) -> Iterator[IO[bytes]]:
    """Open a file that takes the place of ``path`` when the block ends without an error.

    Another process that replaces the same file waits until then.
    """
    part = path.with_name(f".{path.name}.part")
    with _named(path, part), _locked_file(part) as descriptor:
        try:
            with open(descriptor, "wb", closefd=False) as file:
                file.truncate(0)  # what a process that died has left
                yield file
                file.flush()
                os.fsync(descriptor)
            part.replace(path)
        except BaseException:
            with suppress(OSError):
                part.unlink(missing_ok=True)
            raise


@contextmanager
def _locked_file(part: Path) -> Iterator[int]:
    """Open a file that this process alone writes, until it has lost its name or is closed."""
    with _locked(part, lambda: os.open(part, os.O_RDWR | os.O_CREAT, 0o666), 0) as descriptor:
        yield descriptor


@contextmanager
def _locked(part: Path, open_part: Callable[[], int], mode: int) -> Iterator[int]:
    """Open and lock what is called ``part`` at that moment; the lock ends with the process."""
    while True:
        descriptor = open_part()
        try:
            _lock(descriptor, mode)
            if _has_name(descriptor, part):
                yield descriptor
                return
        finally:
            os.close(descriptor)


def _lock(descriptor: int, mode: int) -> None:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | mode)
    except BlockingIOError:
        raise
    except OSError as error:
        if error.errno not in (errno.ENOLCK, errno.ENOTSUP):  # a file system without locks
            raise


def _has_name(descriptor: int, path: Path) -> bool:
    """Tell whether an open file or folder is what its path leads to now."""
    try:
        return os.path.samestat(os.fstat(descriptor), os.stat(path))
    except FileNotFoundError:
        return False


@contextmanager
def _named(path: Path, part: Path) -> Iterator[None]:
    """Let an error of the system name the file that was asked for, not the one on its way."""
    try:
        yield
    except OSError as error:
        if error.filename is None or Path(error.filename).is_relative_to(part):
            error.filename = str(path)
        raise


def write_text(path: Path, text: str) -> None:
    with replacing(path) as file:
        file.write(text.encode())


def write_csv(path: Path, rows: Sequence[Mapping[str, Any]]) -> None:
    """Replace a CSV file in one step; the first row's keys are its head."""
    text = io.StringIO()
    table = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    table.writeheader()
    table.writerows(rows)
    write_text(path, text.getvalue())


def load_checkpoint(path: Path) -> dict[str, Any]:
    """Read a training checkpoint onto the CPU."""
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except OSError:
        raise
    except Exception as error:  # a damaged file can make the reader raise nearly anything
        raise CorruptFile(
            f"{path}: truncated or not a checkpoint ({type(error).__name__}); "
            "delete it to start the run anew"
        ) from None
    if not isinstance(state, dict) or STATE not in state:
        raise CorruptFile(f"{path}: not a checkpoint of convgate; choose another --out")
    return state


def network_weights(state: dict[str, Any]) -> dict[str, Tensor]:
    """Return the weights to evaluate and ship (the averaged ones with EMA) of a checkpoint."""
    entries = state["state_dict"].items()
    return {k.removeprefix(_PREFIX): v for k, v in entries if k.startswith(_PREFIX)}


def save_weights(path: Path, weights: Mapping[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a safetensors file, the same bytes for the same content.

    Tensors that share memory are written once each.
    """
    own = {name: tensor.detach().cpu().contiguous().clone() for name, tensor in weights.items()}
    written = memoryview(safetensors.torch.save(own, metadata))
    start = 8 + int.from_bytes(written[:8], "little")  # of the numbers, behind the header's length
    header = json.loads(bytes(written[8:start]))
    header["__metadata__"] = dict(sorted(metadata.items()))  # else in another order every time
    text = json.dumps(header, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % 8)
    with replacing(path) as file:
        file.write(len(text).to_bytes(8, "little") + text)
        file.write(written[start:])


def load_weights(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Read the tensors and the metadata of a safetensors file."""
    with _opened(path) as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        return weights, file.metadata() or {}


def load_metadata(path: Path) -> dict[str, str]:
    """Read the metadata of a safetensors file, and none of its tensors."""
    with _opened(path) as file:
        return file.metadata() or {}


@contextmanager
def _opened(path: Path) -> Iterator[Any]:
    if not path.is_file():
        raise InputError(f"{path}: there is no such file")
    try:
        with safetensors.safe_open(path, framework="pt") as file:
            yield file
    except safetensors.SafetensorError as error:
        raise CorruptFile(f"{path}: truncated or not a safetensors file ({error})") from None


@contextmanager
def staging(target: Path) -> Iterator[Path]:
    """Give an empty folder beside ``target``, and take it away at the end, whatever happened.

    Raises:
        InputError: if there is no place for it, or another process is at work there.
    """
    if not target.parent.is_dir():
        raise InputError(f"{target}: there is no folder {target.parent}; create it")
    part = target.with_name(f".{target.name}.part")
    with _named(target, part), _locked_folder(target, part):
        try:
            yield part
        finally:
            shutil.rmtree(part, ignore_errors=True)


@contextmanager
def _locked_folder(target: Path, part: Path) -> Iterator[None]:
    """Make a folder that this process alone fills.

    Raises:
        InputError: if another process has it.
    """

    def opened() -> int:
        while True:
            part.mkdir(exist_ok=True)
            with suppress(FileNotFoundError):  # taken away by the process that had it
                return os.open(part, os.O_RDONLY | os.O_DIRECTORY)

    try:
        with _locked(part, opened, fcntl.LOCK_NB):
            for left in part.iterdir():  # by a process that died
                left.unlink() if left.is_file() else shutil.rmtree(left)
            yield
    except BlockingIOError:
        raise InputError(
            f"{target}: another process is writing it; wait for its end or choose another name"
        ) from None


def publish(files: Mapping[Path, Path]) -> None:
    """Give files that belong together their names: staged file -> its place, the main one last.

    The old main file goes first. A process that dies in between leaves no main file, never an old
    one beside what belongs to the new one.
    """
    for staged in files:
        flush(staged)
    *_, main = files.values()
    if len(files) > 1:
        main.unlink(missing_ok=True)
    for staged, place in files.items():
        staged.replace(place)


def flush(path: Path) -> None:
    """Wait until a file that somebody else has written is on the disk."""
    with path.open("rb") as file:
        os.fsync(file.fileno())


def check_free(path: Path, force: bool = False) -> None:
    """Ask that a file can be written to ``path`` without losing another one."""
    if path.is_dir():
        raise InputError(f"{path}: is a folder; name a file")
    if not path.parent.is_dir():
        raise InputError(f"{path}: there is no folder {path.parent}; create it")
    if path.exists() and not force:
        raise InputError(f"{path}: exists already; choose another name, or add --force")


def check_new_folder(folder: Path) -> None:
    """Ask that ``folder`` is not there, or empty."""
    if folder.is_dir() and not any(folder.iterdir()):
        return
    if folder.exists():
        raise InputError(f"{folder}: exists already; choose a new folder or empty this one")
