"""Runs that any node continues: what is taken, what is kept, and in what order."""

import pytest

from convgate.cluster.files import CHUNK, Keeper, Mirrored, SharedFolder, ThroughRay, open_files
from convgate.errors import InputError

FILES = ("recipe.toml", "metrics.csv", "tensorboard/events", "last.ckpt", "result.json")


class InThisProcess(ThroughRay):
    """The driver's folder without Ray in between; remembers the order of what arrives."""

    def __init__(self, folder):
        self.keeper, self.arrived = Keeper(str(folder)), []

    def _call(self, method, *args):
        if method == "commit":
            self.arrived.append(args[0])
        return getattr(self.keeper, method)(*args)


@pytest.fixture
def kept(tmp_path):
    return InThisProcess(tmp_path / "driver")


def write(folder, **contents):
    for name, content in contents.items():
        path = folder / name.replace("__", ".")
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content)


def test_the_result_arrives_last_and_the_checkpoint_behind_its_recipe(kept):
    with Mirrored(kept).open("net/se-s0") as run:
        for name in reversed(FILES):
            (run.folder / name).parent.mkdir(parents=True, exist_ok=True)
            (run.folder / name).write_text(name)
        run.save()
    order = [path.removeprefix("net/se-s0/") for path in kept.arrived]
    assert order[0] == "recipe.toml" and order[-2:] == ["last.ckpt", "result.json"]
    assert sorted(order) == sorted(FILES)


def test_another_node_continues_with_what_was_kept(kept):
    with pytest.raises(RuntimeError), Mirrored(kept).open("a") as run:
        write(run.folder, last__ckpt="epoch 1")
        run.save()
        write(run.folder, last__ckpt="epoch 2, not saved")
        raise RuntimeError
    with Mirrored(kept).open("a") as run:
        assert (run.folder / "last.ckpt").read_text() == "epoch 1"
    with Mirrored(kept).open("b") as run:
        assert not list(run.folder.glob("*"))


def test_only_what_has_changed_is_sent(kept):
    with Mirrored(kept).open("a") as run:
        write(run.folder, recipe__toml="r", last__ckpt="1")
        run.save()
        write(run.folder, last__ckpt="22")
        run.save()
        run.save()
    assert kept.arrived == ["a/recipe.toml", "a/last.ckpt", "a/last.ckpt"]


@pytest.mark.parametrize("size", [0, 1, CHUNK, CHUNK + 1])
def test_files_of_every_size_come_through_in_pieces(kept, tmp_path, size):
    content = bytes(range(256)) * (size // 256 + 1)
    (tmp_path / "file").write_bytes(content[:size])
    kept.put(tmp_path / "file", "a/file")
    kept.get("a/file", tmp_path / "again")
    assert (tmp_path / "again").read_bytes() == content[:size]
    assert kept.list("a") == ["file"]  # no part is left


def test_a_file_that_is_on_its_way_is_none(kept, tmp_path):
    kept.keeper.write("a/last.ckpt", "token", 0, b"half")
    assert kept.list("a") == []


def test_what_is_asked_twice_is_done_once(tmp_path):
    """Ray asks again where the keeper's process was killed before it could answer."""
    keeper = Keeper(str(tmp_path))
    for at, chunk in ((0, b"whole "), (6, b"file")):
        for _ in range(2):
            keeper.write("a/last.ckpt", "token", at, chunk)
    for _ in range(2):
        keeper.commit("a/last.ckpt", "token")
    assert keeper.read("a/last.ckpt", 0) == b"whole file"
    assert keeper.names("a") == ["last.ckpt"]


def test_a_finished_run_is_brought_without_its_checkpoint(tmp_path):
    shared = SharedFolder(tmp_path / "shared")
    with shared.open("a") as run:
        write(run.folder, weights__safetensors="w", last__ckpt="l")
    shared.fetch("a", tmp_path / "out" / "a")
    assert [p.name for p in (tmp_path / "out" / "a").iterdir()] == ["weights.safetensors"]
    shared.fetch("a", tmp_path / "shared" / "a")  # it is there
    assert (tmp_path / "shared" / "a" / "last.ckpt").read_text() == "l"


def test_a_local_address_is_a_shared_folder(tmp_path):
    pytest.importorskip("pyarrow")
    assert open_files(str(tmp_path)) == open_files(tmp_path.as_uri()) == SharedFolder(tmp_path)


def test_an_unknown_address_is_refused():
    pytest.importorskip("pyarrow")
    with pytest.raises(InputError, match="--storage-path ftp://host/x: cannot be opened"):
        open_files("ftp://host/x")
