"""Try a wheel in an empty environment: `python tests/installed.py WHEEL FOLDER CONSTRAINTS`.

First the wheel alone: the verbs answer, a study runs, and what needs an extra says which one. Then
each extra is added, and what needed it works.
"""

import shutil
import subprocess
import sys
import venv
from pathlib import Path

PICTURE = "from PIL import Image; Image.effect_noise((32, 32), 64).save('photo.png')"
MASK = "from convgate.pictures.masks import coder; coder()"
DATABASE = "from convgate.studies.postgres import check_driver; check_driver()"
PAGE = "from convgate.cli.app import check_server; check_server()"
RAY = "from convgate.cluster.start import check_ray; check_ray()"
FAST = ("--seconds", "1")
ALWAYS: list[tuple[str, ...]] = [
    ("convgate", "--version"),
    ("convgate", "--help"),
    ("convgate", "ls", "gates"),
    ("convgate", "recipe", "new", "my.toml"),
    ("convgate", "study", "digits/demo", "--out", "demo"),
    (
        "convgate",
        "train",
        "digits/demo",
        "--gate",
        "se",
        "--set",
        "schedule.epochs=3",
        "--out",
        "run",
    ),
    ("convgate", "eval", "run"),
    ("convgate", "measure", "run", *FAST),
    ("convgate", "table", "selnext.9", "--rows", "baseline"),
    ("python", "-c", PICTURE),
    ("convgate", "predict", "photo.png", "--model", "run"),
]
EXTRAS: dict[str, tuple[str, ...]] = {
    "cam": ("convgate", "view", "cam", "photo.png", "--model", "run", "--out", "cam.png"),
    "app": ("python", "-c", PAGE),
    "onnx": ("convgate", "export", "run", "--format", "onnx", "--out", "net.onnx"),
    "openvino": ("convgate", "export", "run", "--format", "openvino", "--out", "net.xml"),
    "detection": ("python", "-c", MASK),
    "ray": ("python", "-c", RAY),
    "postgres": ("python", "-c", DATABASE),
    "weights": ("convgate", "measure", "tf_efficientnet_lite0.pypi_in1k", "--pretrained", *FAST),
}


def main(wheel: Path, folder: Path, constraints: Path) -> None:
    """Build the environment, and run everything in it."""
    shutil.rmtree(folder, ignore_errors=True)
    venv.create(folder, with_pip=True)
    work = folder / "work"
    work.mkdir()
    install(folder, f"{wheel}", constraints)
    for command in ALWAYS:
        run(folder, command)
    for extra, command in EXTRAS.items():
        refused = run(folder, command, succeeds=False)
        assert f"pip install 'convgate[{extra}]'" in refused, refused
        install(folder, f"{wheel}[{extra}]", constraints)
        run(folder, command)
    print(f"{wheel.name}: alone, and with {', '.join(EXTRAS)}")


def install(folder: Path, what: str, constraints: Path) -> None:
    """Install a wheel with or without an extra."""
    pip = [folder / "bin/python", "-m", "pip", "install", "--quiet", "--constraint", constraints]
    subprocess.run([*pip, what], check=True)


def run(folder: Path, command: tuple[str, ...], *, succeeds: bool = True) -> str:
    """Run a command of the environment in its own folder; return what it said."""
    print(" ".join(command), flush=True)
    ran = subprocess.run(
        [folder / "bin" / command[0], *command[1:]],
        cwd=folder / "work",
        capture_output=True,
        text=True,
        timeout=900,
    )
    said = ran.stdout + ran.stderr
    assert (ran.returncode == 0) is succeeds, f"{' '.join(command)}: {ran.returncode}\n{said}"
    return said


if __name__ == "__main__":
    main(*(Path(argument).resolve() for argument in sys.argv[1:]))
