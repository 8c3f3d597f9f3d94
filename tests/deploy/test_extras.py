"""Optional packages: loaded without a trace in the home folder."""

import os
import subprocess
import sys

import pytest

EXPORTS = """
import torch
from convgate.deploy import export
from convgate.networks import open_network

network = open_network("resnet8", image_px=16)
export(network, "onnx", "net.onnx", fixed_size=True)
pictures = torch.randn(3, 3, 16, 16)
export(network, "openvino", "net.xml", fixed_size=True, dtype="int8", calibration=pictures)
"""


@pytest.mark.slow
def test_exports_leave_no_identifier_in_the_home_folder(tmp_path):
    pytest.importorskip("nncf")
    home, here = tmp_path / "home", tmp_path / "here"
    home.mkdir()
    here.mkdir()
    unset = ("ORT_DISABLE_TELEMETRY", "NNCF_CI", "CI", "XDG_CACHE_HOME", "XDG_CONFIG_HOME")
    own = {key: value for key, value in os.environ.items() if key not in unset}
    script = [sys.executable, "-W", "ignore", "-c", EXPORTS]
    subprocess.run(script, check=True, cwd=here, env=own | {"HOME": str(home)})
    assert {path.name for path in here.iterdir()} == {"net.onnx", "net.xml", "net.bin"}
    left = [str(path.relative_to(home)) for path in home.rglob("*") if path.is_file()]
    assert not [name for name in left if "matplotlib" not in name]
