"""The conditions of a measurement: machine, versions, threads, commit and command."""

import platform
import shlex
import subprocess
import sys
from pathlib import Path

import torch

from convgate.errors import without_password


def environment(device: str | torch.device = "cpu") -> dict[str, str]:
    """Describe where a number was measured; what does not exist here is "none"."""
    device = torch.device(device)
    on_gpu = device.type == "cuda"
    return {
        "device": torch.cuda.get_device_name(device) if on_gpu else str(device),
        "driver": _driver() if on_gpu else "none",
        "cuda": str(torch.version.cuda or "none"),
        "cudnn": _cudnn() if on_gpu else "none",
        "onednn": _onednn(),
        "engine": f"torch {torch.__version__}",
        "torch": str(torch.__version__),
        "python": platform.python_version(),
        "system": f"{platform.system()} {platform.release()} {platform.machine()}",
        "cpu": cpu_name(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "threads": str(torch.get_num_threads()),
        "cudnn_benchmark": str(torch.backends.cudnn.benchmark).lower(),
        "tf32": str(_tf32() if on_gpu else False).lower(),
        "git_commit": git_commit(),
        "command": shlex.join([*_program(), *map(without_password, sys.argv[1:])]),
    }


def _program() -> list[str]:
    """Return how this process was started: a script's name, or python -m and a module's."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    if spec is not None:
        return ["python", "-m", spec.name.removesuffix(".__main__")]
    return [Path(sys.argv[0]).name or "python"]


def cpu_name() -> str:
    path = Path("/proc/cpuinfo")
    if path.exists():
        for line in path.read_text(errors="replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine() or "unknown"


def git_commit(folder: Path | None = None) -> str:
    """Return the commit of the working directory, "+" after it where files differ from it."""
    commit = _output("git", "rev-parse", "--short=12", "HEAD", folder=folder)
    if commit is None:
        return "none"
    changed = _output("git", "status", "--porcelain", "--untracked-files=no", folder=folder)
    return f"{commit}+" if changed else commit


def _driver() -> str:
    question = ("nvidia-smi", "--query-gpu=driver_version", "--format=csv,noheader")
    answer = _output(*question)
    return answer.splitlines()[0] if answer else "unknown"


def _cudnn() -> str:
    return str(torch.backends.cudnn.version() or "none")  # type: ignore[no-untyped-call]


def _onednn() -> str:
    for line in torch.__config__.show().splitlines():
        if "MKL-DNN" in line or "oneDNN" in line:
            return next((word for word in line.split() if word.startswith("v")), "unknown")
    return "none"


def _tf32() -> bool:
    matmul = torch.backends.cuda.matmul
    conv = torch.backends.cudnn.conv  # type: ignore[attr-defined]
    return "tf32" in (matmul.fp32_precision, conv.fp32_precision)


def _output(*command: str, folder: Path | None = None) -> str | None:
    try:
        done = subprocess.run(
            command, cwd=folder, capture_output=True, text=True, timeout=10, check=True
        )
    except (OSError, subprocess.SubprocessError):
        return None
    return done.stdout.strip()
