import contextlib
import errno
import json
import time
from functools import partial, partialmethod

import pytest
import torch

from convgate.errors import CorruptFile, InputError
from convgate.storage import (
    load_checkpoint,
    load_weights,
    publish,
    replacing,
    save_weights,
    staging,
)
from convgate.train.trainer import AtomicCheckpointIO
from fixtures.processes import process, wait_for


def test_a_write_that_fails_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "file"
    path.write_bytes(b"old")
    with pytest.raises(KeyboardInterrupt), replacing(path) as file:
        file.write(b"half of the new")
        file.flush()
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert list(tmp_path.iterdir()) == [path]
    with replacing(path) as file:
        file.write(b"new")
        assert path.read_bytes() == b"old"
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_an_error_names_the_file_that_was_asked_for(tmp_path):
    (tmp_path / ".file.part").mkdir()
    with pytest.raises(OSError) as caught, replacing(tmp_path / "file"):
        pass
    assert caught.value.filename == str(tmp_path / "file")
    with pytest.raises(OSError) as caught, staging(tmp_path / "folder") as part:
        (part / "none" / "deep").mkdir()
    assert caught.value.filename == str(tmp_path / "folder")
    with pytest.raises(OSError) as caught, staging(tmp_path / "folder"):
        (tmp_path / "none").read_bytes()
    assert caught.value.filename == str(tmp_path / "none")


def write_slowly(path, word, started):
    """Replace a file by a word written many times, in small steps."""
    for _ in range(50):
        with replacing(path) as file:
            for _ in range(100):
                file.write(word)
                file.flush()
    started.touch()


def test_two_processes_that_replace_one_file_do_not_mix_their_bytes(tmp_path):
    path, words = tmp_path / "net.onnx", (b"first", b"other, longer")
    path.write_bytes(words[0] * 100)
    with contextlib.ExitStack() as both:
        running = [
            both.enter_context(process(write_slowly, path, word, tmp_path / str(number)))
            for number, word in enumerate(words)
        ]
        while any(writer.is_alive() for writer in running):
            assert path.read_bytes() in [word * 100 for word in words]
    assert {file.name for file in tmp_path.iterdir()} == {"net.onnx", "0", "1"}


def stage(target, started):
    """Stay in a staging folder until the process ends."""
    with staging(target) as part:
        (part / "half").write_text("half")
        started.touch()
        time.sleep(600)


def test_a_second_process_does_not_write_what_another_is_writing(tmp_path):
    target = tmp_path / "net.xml"
    with process(stage, target, tmp_path / "started"):
        wait_for((tmp_path / "started").exists)
        with pytest.raises(InputError, match=r"net.xml: another process is writing it"):
            staging(target).__enter__()
        assert (tmp_path / ".net.xml.part" / "half").read_text() == "half"
    with staging(target) as part:  # that process was killed
        assert list(part.iterdir()) == []
    assert [file.name for file in tmp_path.iterdir()] == ["started"]


def pair(folder, word):
    folder.mkdir(exist_ok=True)
    for suffix in ("bin", "xml"):
        (folder / f"net.{suffix}").write_text(word)
    return folder / "net.bin", folder / "net.xml"


def test_files_that_belong_together_are_never_of_two_writes(tmp_path, monkeypatch):
    """Die at each step of a replacement, and look at what stands there then."""
    real = {name: getattr(type(tmp_path), name) for name in ("replace", "unlink")}
    seen = []
    for dies_at in range(4):
        staged, places = pair(tmp_path / "staged", "new"), pair(tmp_path / "out", "old")
        steps = iter(range(4))

        def step(name, path, *rest, steps=steps, dies_at=dies_at, **how):
            if next(steps) == dies_at:
                raise KeyboardInterrupt
            return real[name](path, *rest, **how)

        for name in real:
            monkeypatch.setattr(type(tmp_path), name, partialmethod(partial(step, name)))
        with contextlib.suppress(KeyboardInterrupt):
            publish(dict(zip(staged, places, strict=True)))
        monkeypatch.undo()
        seen.append({p.name: p.read_text() for p in places if p.exists()})
    old, new = ({"net.bin": word, "net.xml": word} for word in ("old", "new"))
    assert seen == [old, {"net.bin": "old"}, {"net.bin": "new"}, new]


class FullFile:
    """A file on a disk with room for a thousand bytes."""

    def __init__(self):
        self.room = 1000

    def write(self, data):
        self.room -= len(data)
        if self.room < 0:
            raise OSError(errno.ENOSPC, "No space left on device")
        return len(data)


def test_a_full_disk_is_an_oserror_even_where_torch_hides_it(tmp_path, monkeypatch):
    real = torch.save
    monkeypatch.setattr(torch, "save", lambda state, file: real(state, FullFile()))
    with pytest.raises(OSError, match="No space left") as caught:
        AtomicCheckpointIO().save_checkpoint({"w": torch.zeros(1000)}, tmp_path / "last.ckpt")
    assert caught.value.errno == errno.ENOSPC
    assert caught.value.filename == str(tmp_path / "last.ckpt")
    assert not list(tmp_path.iterdir())


class Rogue:
    def __reduce__(self):
        return (exec, ("import convgate; convgate.rogue_ran = True",))


def test_a_checkpoint_never_runs_code(tmp_path):
    import convgate

    torch.save({"convgate": Rogue()}, tmp_path / "rogue.ckpt")
    with pytest.raises(CorruptFile, match=r"rogue\.ckpt: truncated or not a checkpoint"):
        load_checkpoint(tmp_path / "rogue.ckpt")
    assert "rogue_ran" not in vars(convgate)


def test_weights_carry_their_metadata_and_shared_tensors(tmp_path):
    shared = torch.arange(6.0)
    weights = {"a": shared, "b": shared, "c": torch.randn(3, 4).t(), "n": torch.tensor(3)}
    save_weights(tmp_path / "w.safetensors", weights, {"recipe": "x = 'ü'"})
    read, metadata = load_weights(tmp_path / "w.safetensors")
    assert metadata["recipe"] == "x = 'ü'"
    assert read.keys() == weights.keys()
    assert all(torch.equal(read[name], tensor) for name, tensor in weights.items())


def test_equal_content_is_equal_bytes(tmp_path):
    path, weights = tmp_path / "w.safetensors", {"b": torch.zeros(3), "a": torch.ones(2, 2)}
    metadata = {"format": "pt", "convgate": "{}", "z": "ü", "y": "2"}
    written = set()
    for order in (metadata, dict(reversed(metadata.items()))):
        for _ in range(10):
            save_weights(path, weights, order)
            written.add(path.read_bytes())
    assert len(written) == 1
    (text,) = written
    header = int.from_bytes(text[:8], "little")
    assert header % 8 == 0 and list(json.loads(text[8 : 8 + header])["__metadata__"]) == sorted(
        metadata
    )


def test_weights_that_are_absent_damaged_or_foreign_are_named(tmp_path):
    path = tmp_path / "w.safetensors"
    with pytest.raises(InputError, match=r"w\.safetensors: there is no such file"):
        load_weights(path)
    save_weights(path, {"a": torch.zeros(100)}, {})
    path.write_bytes(path.read_bytes()[:-8])
    with pytest.raises(CorruptFile, match=r"w\.safetensors: truncated or not a safetensors file"):
        load_weights(path)
