"""What a release must hold: `python tests/release.py check TAG`, or `notes TAG`."""

import re
import sys
import tomllib
from pathlib import Path

ROOT = Path(__file__).parents[1]
PLACEHOLDER = "https://example.org/convgate"
"""Stands for the project's address until it has one."""
ADDRESSED = ("pyproject.toml", "CITATION.cff", "SECURITY.md")


def version(root: Path = ROOT) -> str:
    """Return the version that the project says it has."""
    return str(tomllib.loads((root / "pyproject.toml").read_text())["project"]["version"])


def problems(tag: str, root: Path = ROOT) -> list[str]:
    """Return a sentence for each thing that must be done before the tag is a release."""
    found = []
    if tag != f"v{version(root)}":
        found.append(f"the tag is {tag!r}, and pyproject.toml has the version {version(root)}")
    if f"\nversion: {version(root)}\n" not in (root / "CITATION.cff").read_text():
        found.append(f"CITATION.cff has another version than {version(root)}")
    if not notes(root):
        found.append(f"CHANGELOG.md has no section {version(root)} with a date")
    held = [name for name in ADDRESSED if PLACEHOLDER in (root / name).read_text()]
    if held:
        found.append(f"{', '.join(held)}: {PLACEHOLDER} stands where the project's address belongs")
    return found


def notes(root: Path = ROOT) -> str:
    """Return what the changelog says of the version, if its heading has a date."""
    heading = rf"^## {re.escape(version(root))} \(\d{{4}}-\d\d-\d\d\)\n(.*?)(?=^## |\Z)"
    found = re.search(heading, (root / "CHANGELOG.md").read_text(), re.M | re.S)
    return found[1].strip() if found else ""


def main(arguments: list[str]) -> int:
    """Check a tag, or print its notes; return the exit code."""
    verb, tag = arguments
    found = problems(tag)
    print("\n".join(found) if found or verb == "check" else notes())
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
