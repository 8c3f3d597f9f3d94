"""Exit codes and sentences, and a help that answers at once."""

import errno
import subprocess
import sys
import time
from importlib.metadata import version

import pytest
import typer
from typer.testing import CliRunner

from convgate.cli import app
from convgate.cli.main import Verbs
from convgate.errors import CorruptFile, InputError


def run(*words, python=()):
    """Run the installed command in its own process."""
    script = "from convgate.cli import main; main()"
    return subprocess.run(
        [sys.executable, *python, "-c", script, *words],
        capture_output=True,
        text=True,
        check=False,
        env={"COLUMNS": "80", "PYTHONWARNINGS": "error"},
    )


@pytest.fixture
def fail():
    """Run a verb that raises, in a command line made as ours is."""

    def runner(error):
        app = typer.Typer(cls=Verbs, pretty_exceptions_enable=False)
        inner = typer.Typer()
        app.add_typer(inner, name="group")

        @app.callback()
        def root():
            pass

        @app.command()
        @inner.command()
        def verb():
            typer.echo("began")
            raise error

        results = [CliRunner().invoke(app, words) for words in (["verb"], ["group", "verb"])]
        assert {(r.exit_code, r.stderr) for r in results} == {
            (results[0].exit_code, results[0].stderr)
        }
        return results[0]

    return runner


@pytest.mark.parametrize("kind", [InputError, CorruptFile])
def test_input_error_is_a_sentence_and_2(fail, kind):
    result = fail(kind("unknown gate [bold] 'selm'; did you mean 'seln'?"))
    assert result.exit_code == 2
    assert result.stderr == "convgate: unknown gate [bold] 'selm'; did you mean 'seln'?\n"
    assert result.stdout == "began\n"


def test_a_name_cannot_write_a_line_of_its_own(tmp_path, fail):
    picture = tmp_path / "a\x1b[31m\nconvgate: all is well.png"
    picture.write_bytes(b"no picture")
    result = fail(InputError(f"{picture}: damaged"))
    assert (
        result.stderr == f"convgate: {tmp_path}/a\\x1b[31m\\nconvgate: all is well.png: damaged\n"
    )


def test_full_disk_is_a_sentence_and_2(fail):
    result = fail(OSError(errno.ENOSPC, "No space left on device", "out/last.ckpt"))
    assert result.exit_code == 2
    assert result.stderr.startswith("convgate: the disk is full at out/last.ckpt; ")
    assert fail(OSError(errno.ENOSPC, "No space")).stderr.startswith("convgate: the disk is full;")


def test_control_c_is_a_sentence_and_130(fail):
    result = fail(KeyboardInterrupt())
    assert result.exit_code == 130
    assert result.stderr.startswith("convgate: stopped; ")


@pytest.mark.parametrize(
    ("number", "sentence"),
    [
        (errno.EDQUOT, "your share of the disk is used up at out/x; free some of it and run"),
        (errno.EFBIG, "the limit on a file's size is reached at out/x; raise it (ulimit -f) and"),
        (errno.EACCES, "out/x: cannot be read or written (as the system says); choose another"),
    ],
)
def test_what_the_system_refuses_is_a_sentence_and_2(fail, number, sentence):
    result = fail(OSError(number, "as the system says", "out/x"))
    assert result.exit_code == 2
    assert result.stderr.startswith(f"convgate: {sentence}")


def test_our_own_mistakes_keep_their_trace(fail):
    result = fail(ValueError("a bug"))
    assert isinstance(result.exception, ValueError)
    assert isinstance(fail(OSError(errno.EACCES, "denied")).exception, PermissionError)


def test_usage_errors_exit_with_2():
    result = run("nosuchverb")
    assert result.returncode == 2
    assert "No such command 'nosuchverb'" in result.stderr
    assert "Traceback" not in result.stderr
    assert run("--nosuchoption").returncode == 2


VERBS = (["predict"], ["eval"], ["train"], ["study"])


@pytest.mark.parametrize("words", [["measure"], ["insert"], ["export"], ["ls", "sites"], *VERBS])
def test_help_is_a_plain_sentence_and_a_block_of_examples(words):
    text = CliRunner().invoke(app, [*words, "--help"], env={"COLUMNS": "100"}).stdout
    summary, _, block = text.partition("Examples:")
    assert "`" not in summary.partition("Options")[0]
    lines = [line.strip() for line in block.splitlines() if line.strip()]
    assert lines and all(line.startswith(f"convgate {words[0]}") for line in lines)


def test_examples_keep_their_brackets():
    assert "'layer[34].*.bn2'" in CliRunner().invoke(app, ["insert", "--help"]).stdout


def test_version():
    result = run("--version")
    assert (result.returncode, result.stdout) == (0, f"convgate {version('convgate')}\n")


def test_help_is_quick_and_loads_no_torch():
    seconds = []
    for _ in range(3):  # the quickest counts: other work on the machine only adds to it
        started = time.perf_counter()
        result = run("--help", python=["-X", "importtime"])
        seconds.append(time.perf_counter() - started)
    assert result.returncode == 0
    assert "Usage" in result.stdout
    loaded = {line.rpartition("|")[2].strip() for line in result.stderr.splitlines()}
    assert "convgate.cli.main" in loaded
    heavy = {"torch", "timm", "torchvision", "lightning", "optuna", "altair", "sklearn", "numpy"}
    assert not loaded & heavy
    assert min(seconds) < 1
