"""Put a checked site into a folder of versions: `python docs/site_publish.py BUILT FOLDER VERSION`.

The folder is what a host serves: FOLDER/VERSION/, the list of versions that the pages' switcher
reads, and a first page that leads to the newest release, or to "dev" where there is none.
"""

import json
import re
import shutil
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).parent))

from site_check import problems

FIRST = '<!doctype html><meta charset="utf-8"><meta http-equiv="refresh" content="0; url={0}/">\n'
VERSION = re.compile(r"dev|\d+(\.\d+)*")


def main(arguments: list[str]) -> int:
    """Check and publish; return the exit code."""
    built, folder, version = Path(arguments[0]), Path(arguments[1]), arguments[2]
    found = problems(built.resolve())
    if found or not VERSION.fullmatch(version):
        print("\n".join(found or [f"{version!r} is no version; write dev, or numbers and dots"]))
        return 1
    shutil.rmtree(folder / version, ignore_errors=True)
    shutil.copytree(built, folder / version)
    known = versions(folder)
    listed = [{"version": name, "title": name, "aliases": []} for name in known]
    (folder / "versions.json").write_text(json.dumps(listed, indent=2) + "\n")
    (folder / "index.html").write_text(FIRST.format(known[0]))
    print(f"{folder / version}")
    return 0


def versions(folder: Path) -> list[str]:
    """Return the versions in a folder: releases from the newest, then "dev"."""
    found = [path.name for path in folder.iterdir() if path.is_dir()]
    releases = [name for name in found if name != "dev" and VERSION.fullmatch(name)]
    order = sorted(releases, key=lambda name: [int(part) for part in name.split(".")], reverse=True)
    return order + [name for name in found if name == "dev"]


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
