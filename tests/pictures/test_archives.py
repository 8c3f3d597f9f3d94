import os
import pickle
import subprocess
import sys
import tracemalloc
import zipfile

import pytest

from convgate.errors import CorruptFile, InputError
from convgate.pictures.archives import FolderTree, ZipTree, open_tree, read_file


def write_zip(path, names, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(path, "w", method) as archive:
        for name in names:
            archive.writestr(name, f"content of {name}")
    return path


def test_a_zip_gives_what_its_folder_gives(make_tree, make_zip):
    tree = make_tree()
    folder, archive = open_tree(tree.parent), open_tree(make_zip(tree))
    assert isinstance(folder, FolderTree) and isinstance(archive, ZipTree)
    assert folder.folders("set") == archive.folders("set") == ["train", "val"]
    names = folder.files("set/train")
    assert names == archive.files("set/train") and len(names) == 12
    assert all(folder.read(name) == archive.read(name) for name in names)
    every = [name for name in folder.files("") if name.endswith(".png")]
    assert every == archive.files("") and set(names) < set(every)


def test_files_of_a_class_whose_name_begins_like_another(tmp_path):
    names = ["train/cat/1.png", "train/cat2/1.png", "train/cat 3/1.png", "train/cat.d/1.png"]
    tree = ZipTree(write_zip(tmp_path / "a.zip", names))
    assert tree.files("train/cat") == ["train/cat/1.png"]
    assert tree.folders("train") == ["cat", "cat 3", "cat.d", "cat2"]


def test_hidden_and_resource_files_are_left_out(tmp_path):
    names = ["__MACOSX/train/cat/._1.jpg", "train/cat/.DS_Store", "train/cat/1.jpg"]
    tree = ZipTree(write_zip(tmp_path / "a.zip", names))
    assert tree.folders("") == ["train"] and tree.files("train") == ["train/cat/1.jpg"]
    for name in ("cat/.hidden/1.jpg", "cat/.DS_Store", "cat/1.jpg"):
        (tmp_path / "train" / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / "train" / name).touch()
    assert FolderTree(tmp_path).files("train") == ["train/cat/1.jpg"]


@pytest.mark.parametrize("name", ["../out.jpg", "a/../../out.jpg", "/etc/out.jpg", "C:/out.jpg"])
def test_a_zip_entry_outside_the_archive_is_refused(tmp_path, name):
    path = write_zip(tmp_path / "a.zip", ["train/cat/1.jpg", name])
    with pytest.raises(CorruptFile, match="points outside the archive"):
        open_tree(path)


def test_reading_writes_nothing(tmp_path):
    tree = ZipTree(write_zip(tmp_path / "a.zip", ["train/cat/1.jpg"]))
    tree.read("train/cat/1.jpg")
    assert [path.name for path in tmp_path.iterdir()] == ["a.zip"]


def test_a_link_to_a_folder_is_followed_once(tmp_path):
    real = tmp_path / "elsewhere" / "cat"
    real.mkdir(parents=True)
    (real / "1.jpg").touch()
    (real / "loop").symlink_to(real)
    (tmp_path / "train").mkdir()
    (tmp_path / "train" / "cat").symlink_to(real)
    tree = FolderTree(tmp_path)
    assert tree.folders("train") == ["cat"]
    assert tree.files("train/cat") == ["train/cat/1.jpg"]


def test_a_link_to_a_folder_above_it_ends_there(tmp_path):
    data, outside = tmp_path / "data", tmp_path / "outside"
    (data / "train" / "cat").mkdir(parents=True)
    (data / "train" / "dog.jpg").touch()
    (data / "train" / "cat" / "top").symlink_to(data)
    (outside / "deep").mkdir(parents=True)
    (outside / "deep" / "1.jpg").touch()
    (outside / "deep" / "up").symlink_to(outside)
    (data / "train" / "cat" / "more").symlink_to(outside / "deep")
    assert FolderTree(data).files("train/cat") == ["train/cat/more/1.jpg"]


@pytest.mark.parametrize("target", ["/", ".."], ids=["root", "above"])
def test_a_link_to_a_folder_that_holds_the_tree_is_refused(tmp_path, target):
    (tmp_path / "data" / "cat").mkdir(parents=True)
    (tmp_path / "data" / "cat" / "all").symlink_to(tmp_path if target == ".." else target)
    with pytest.raises(InputError, match=r"cat/all: links to /.*, which holds .*; remove the link"):
        FolderTree(tmp_path / "data").files("cat")


def test_a_missing_path(tmp_path):
    with pytest.raises(InputError, match=r"none: no such folder or zip archive"):
        open_tree(tmp_path / "none")


def test_a_file_that_is_no_archive(tmp_path):
    path = tmp_path / "a.zip"
    path.write_text("hello")
    with pytest.raises(CorruptFile, match=r"a.zip: neither a folder nor a whole zip archive"):
        open_tree(path)


def test_a_truncated_archive(make_tree, make_zip):
    path = make_zip(make_tree())
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(CorruptFile, match="cut short"):
        open_tree(path)


def test_an_archive_with_a_damaged_directory(tmp_path):
    path = write_zip(tmp_path / "a.zip", ["train/cat/1.jpg"])
    path.write_bytes(path.read_bytes().replace(b"PK\x01\x02", b"PK\x00\x00"))
    with pytest.raises(CorruptFile, match=r"a.zip: damaged zip archive"):
        open_tree(path)


@pytest.mark.parametrize("method", [zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED])
def test_a_damaged_entry_is_named(tmp_path, method):
    path = write_zip(tmp_path / "a.zip", ["train/cat/1.jpg"], method)
    data = bytearray(path.read_bytes())
    start = 30 + len("train/cat/1.jpg")  # behind the local header
    for at in range(start + 5, start + 20):
        data[at] ^= 0xFF
    path.write_bytes(data)
    with pytest.raises(CorruptFile, match=r"a.zip/train/cat/1.jpg: cannot be unpacked"):
        open_tree(path).read("train/cat/1.jpg")


def test_a_file_that_vanished_is_named(tmp_path):
    with pytest.raises(CorruptFile, match=r"1.jpg: cannot be read \(No such file"):
        FolderTree(tmp_path).read("1.jpg")


def test_an_entry_that_would_fill_the_memory_is_refused(tmp_path, monkeypatch):
    path = write_zip(tmp_path / "a.zip", ["train/cat/1.jpg"])
    (tmp_path / "big.jpg").write_bytes(bytes(20))
    monkeypatch.setattr("convgate.pictures.archives.MAX_FILE_BYTES", 10)
    with pytest.raises(CorruptFile, match=r"cat/1.jpg: refused, over"):
        open_tree(path).read("train/cat/1.jpg")
    with pytest.raises(CorruptFile, match=r"big.jpg: refused, over"):
        FolderTree(tmp_path).read("big.jpg")


def test_unpacking_stops_where_the_directory_says_the_file_ends(tmp_path):
    path = tmp_path / "a.zip"
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("1.jpg", bytes(64 << 20))
    entry = bytearray(path.read_bytes())
    size_at = entry.index(b"PK\x01\x02") + 24  # of the uncompressed file, in the directory
    entry[size_at : size_at + 4] = (1000).to_bytes(4, "little")
    path.write_bytes(entry)
    tree = open_tree(path)
    tracemalloc.start()
    with pytest.raises(CorruptFile, match=r"a.zip/1.jpg: cannot be unpacked"):
        tree.read("1.jpg")
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 2 << 20


@pytest.mark.parametrize("method", [zipfile.ZIP_BZIP2, zipfile.ZIP_LZMA])
def test_an_archive_that_cannot_be_unpacked_in_steps_is_refused(tmp_path, method):
    path = write_zip(tmp_path / "a.zip", ["train/cat/1.jpg"], method)
    with pytest.raises(InputError, match="packed by neither store nor deflate"):
        open_tree(path)


def test_only_regular_files_are_read(tmp_path):
    os.mkfifo(tmp_path / "pipe.jpg")
    (tmp_path / "endless.jpg").symlink_to("/dev/zero")
    (tmp_path / "real").write_bytes(b"pixels")
    (tmp_path / "link.jpg").symlink_to(tmp_path / "real")
    for name in ("pipe.jpg", "endless.jpg"):
        with pytest.raises(CorruptFile, match=f"{name}: refused, it is no regular file"):
            FolderTree(tmp_path).read(name)
        with pytest.raises(CorruptFile, match=f"{name}: neither a folder nor"):
            open_tree(tmp_path / name)
    assert FolderTree(tmp_path).read("link.jpg") == b"pixels"


def test_a_file_that_grows_while_it_is_read_stops_at_the_limit(tmp_path, monkeypatch):
    (tmp_path / "1.jpg").write_bytes(bytes(20))
    size = os.stat_result((0o100644, *[0] * 9))
    monkeypatch.setattr("convgate.pictures.archives.Path.stat", lambda path: size)
    with pytest.raises(CorruptFile, match=r"1.jpg: refused, over"):
        read_file(tmp_path / "1.jpg", 10)


def test_a_folder_that_cannot_be_listed(tmp_path):
    with pytest.raises(InputError, match="cannot be listed"):
        FolderTree(tmp_path).folders("none")
    with pytest.raises(InputError, match="cannot be listed"):
        FolderTree(tmp_path).files("none")


def test_an_archive_travels_to_another_process(tmp_path):
    tree = ZipTree(write_zip(tmp_path / "a.zip", ["train/cat/1.jpg"]))
    assert pickle.loads(pickle.dumps(tree)).read("train/cat/1.jpg") == b"content of train/cat/1.jpg"


FORK = """
import os, pathlib, sys
from convgate.pictures.archives import ZipTree
tree = ZipTree(pathlib.Path(sys.argv[1]))
before = tree._archive()
child = os.fork()
if child == 0:
    os._exit(0 if tree._archive() is not before else 1)
sys.exit(os.waitpid(child, 0)[1] != 0 or tree._archive() is not before)
"""


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
def test_a_forked_process_reads_through_its_own_handle(tmp_path):
    """In a process of its own: a fork copies one thread, and here run those of every engine."""
    archive = write_zip(tmp_path / "a.zip", ["train/cat/1.jpg"])
    assert subprocess.run([sys.executable, "-c", FORK, str(archive)], timeout=120).returncode == 0
