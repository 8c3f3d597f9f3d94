"""Every network of ours passes the tests that timm has for its own, of its source distribution."""

import os
import re
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest
import timm

from fixtures.timm_selection import NETWORK, ours

TESTS = Path(__file__).parents[1]
SOURCE = TESTS.parent / "src"


@pytest.fixture(scope="session")
def timm_tests(tmp_path_factory):
    """The folder of timm's tests, fetched from the package index."""
    folder = tmp_path_factory.mktemp("timm")
    wanted = f"timm=={timm.__version__}"
    fetch = ["-m", "pip", "download", wanted, "--no-deps", "--no-binary", ":all:"]
    try:
        command = [sys.executable, *fetch, "--dest", str(folder)]
        subprocess.run(command, check=True, capture_output=True, timeout=200)
    except (subprocess.SubprocessError, OSError) as error:
        pytest.skip(f"timm's source distribution cannot be fetched: {error}")
    (archive,) = folder.glob("timm-*.tar.gz")
    with tarfile.open(archive) as file:
        file.extractall(folder, filter="data")
    return folder / archive.name.removesuffix(".tar.gz") / "tests"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.parametrize("name", ours())
def test_timms_own_tests(timm_tests, name):
    """Forward, backward, configuration, features, pruning, torch.fx and TorchScript."""
    plugin = ["-p", "fixtures.timm_selection", "-p", "no:cacheprovider"]
    ran = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "--tb=short", *plugin, "test_models.py"],
        cwd=timm_tests,
        env=os.environ | {"PYTHONPATH": f"{TESTS}:{SOURCE}", NETWORK: name},
        capture_output=True,
        text=True,
        check=False,
    )
    passed = re.search(r"(\d+) passed", ran.stdout)
    assert ran.returncode == 0, ran.stdout[-4000:] + ran.stderr
    # timm leaves TorchScript out for DenseNets.
    assert int(passed[1]) >= (9 if name.startswith("densenet") else 11)
    assert "skipped" not in ran.stdout
