"""Runs in an object storage: a server that speaks S3, and one that speaks Google's.

They are commands of their own, which need not share packages with this one:
`pipx install 'moto[server]'` and `pipx install gcp-storage-emulator`.
"""

import contextlib
import shutil
import socket
import subprocess
import urllib.request

import pytest

pytest.importorskip("pyarrow")

from convgate.cluster.files import open_files
from convgate.errors import InputError
from fixtures.processes import wait_for

pytestmark = pytest.mark.slow


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def answers(port):
    with contextlib.suppress(OSError):
        urllib.request.urlopen(f"http://127.0.0.1:{port}/").close()
        return True
    return False


@contextlib.contextmanager
def server(*words, port):
    if shutil.which(words[0]) is None:
        pytest.skip(f"{words[0]} is not installed")
    said = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    with subprocess.Popen([*words, str(port)], **said) as process:
        try:
            wait_for(lambda: answers(port), 120)
            yield
        finally:
            process.kill()


@pytest.fixture(scope="module")
def s3():
    """A server that the settings of the environment lead to, without a bucket."""
    port = free_port()
    with (
        pytest.MonkeyPatch.context() as patch,
        server("moto_server", "-H", "127.0.0.1", "-p", port=port),
    ):
        url = f"http://127.0.0.1:{port}"
        patch.setenv("AWS_ENDPOINT_URL", url)
        patch.setenv("AWS_ACCESS_KEY_ID", "key")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
        patch.setenv("AWS_REGION", "us-east-1")
        yield


@pytest.fixture(scope="module")
def google():
    port = free_port()
    words = ("start", "--host", "127.0.0.1", "--in-memory", "--default-bucket", "bucket", "--port")
    with server("gcp-storage-emulator", *words, port=port):
        yield f"gs://anonymous@bucket/runs?scheme=http&endpoint_override=127.0.0.1:{port}"


@pytest.fixture
def files(google):
    return open_files(google)


def test_a_run_is_continued_by_another_node(files, tmp_path):
    """A checkpoint of 20 MB is replaced, and a finished run is brought without it."""
    first, second = bytes(range(256)) * 80_000, bytes(range(255, -1, -1)) * 80_000
    with pytest.raises(RuntimeError), files.open("net/se-s0") as run:
        (run.folder / "tensorboard").mkdir(parents=True)
        (run.folder / "tensorboard" / "events").write_text("e")
        (run.folder / "last.ckpt").write_bytes(first)
        run.save()
        raise RuntimeError
    with files.open("net/se-s0") as run:
        assert (run.folder / "last.ckpt").read_bytes() == first
        (run.folder / "last.ckpt").write_bytes(second)
        (run.folder / "result.json").write_text("{}")
        run.save()
    with files.open("net/se-s0") as run:
        assert (run.folder / "last.ckpt").read_bytes() == second
    with files.open("net/se-s1") as run:
        assert not run.folder.exists() or not list(run.folder.iterdir())
    files.fetch("net/se-s0", tmp_path / "run")
    found = {str(p.relative_to(tmp_path / "run")) for p in (tmp_path / "run").rglob("*.*")}
    assert found == {"result.json"}
    assert (tmp_path / "run" / "tensorboard" / "events").read_text() == "e"


def test_a_storage_that_takes_files_is_left_as_it_was(files):
    before = files.kept.list("")
    files.check()
    assert files.kept.list("") == before


def test_a_bucket_that_is_not_there_is_said_in_a_sentence(s3):
    wrong = open_files("s3://other/runs")
    with pytest.raises(InputError, match=r"^--storage-path s3://other/runs: cannot be written and"):
        wrong.check()


def test_a_password_in_an_address_is_not_said(s3):
    with pytest.raises(InputError) as said:
        open_files("s3://key:secret@other/runs?region=us-east-1").check()
    assert "secret" not in str(said.value) and "s3://key:***@other/runs" in str(said.value)
