"""What has to agree before a release, and workflows that do what can be done at home."""

import re
import shutil
import tomllib
from urllib.parse import urlsplit

import pytest
import yaml

from release import ADDRESSED, PLACEHOLDER, ROOT, notes, problems, version

WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))


@pytest.fixture
def ready(tmp_path):
    """The files of a release as they must be for version 9.8."""
    for name in (*ADDRESSED, "CHANGELOG.md"):
        shutil.copy(ROOT / name, tmp_path / name)
        text = (tmp_path / name).read_text().replace(PLACEHOLDER, "https://host.example/us")
        text = re.sub(r'(?m)^(version\b\D+)[\d.]+("?)$', r"\g<1>9.8\2", text)
        (tmp_path / name).write_text(text)
    sections = ("# Changelog", "## 9.8 (2030-01-31)", "### Added", "- a gate", "## 9.7", "- old")
    (tmp_path / "CHANGELOG.md").write_text("\n\n".join(sections) + "\n")
    return tmp_path


def test_a_release_that_is_ready(ready):
    assert version(ready) == "9.8"
    assert problems("v9.8", ready) == []
    assert notes(ready) == "### Added\n\n- a gate"


def change(file, old, new):
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


@pytest.mark.parametrize(
    ("name", "old", "new", "said"),
    [
        ("pyproject.toml", "https://host.example/us", PLACEHOLDER, "pyproject.toml: https"),
        ("SECURITY.md", "https://host.example/us", PLACEHOLDER, "SECURITY.md: https"),
        ("CITATION.cff", "version: 9.8", "version: 9.7", "CITATION.cff has another version"),
        ("CHANGELOG.md", "9.8 (2030-01-31)", "9.8 (unreleased)", "no section 9.8 with a date"),
        ("pyproject.toml", '"9.8"', '"9.9"', "the tag is 'v9.8', and pyproject.toml has the"),
    ],
)
def test_what_is_not_ready_is_said(ready, name, old, new, said):
    change(ready / name, old, new)
    assert any(said in sentence for sentence in problems("v9.8", ready))


def test_the_projects_address_is_one_in_every_file():
    """The placeholder in all files, or in none."""
    assert len({PLACEHOLDER in (ROOT / name).read_text() for name in ADDRESSED}) == 1


def test_version_and_changelog_agree():
    assert f"version: {version()}\n" in (ROOT / "CITATION.cff").read_text()
    first = re.search(r"^## (\S+)", (ROOT / "CHANGELOG.md").read_text(), re.M)
    assert first[1] == version()
    section = (
        (ROOT / "CHANGELOG.md").read_text().partition(f"## {version()}")[2].partition("\n## ")[0]
    )
    assert re.findall(r"^### (\w+)", section, re.M) == ["Added", "Changed", "Fixed"]


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_a_step_of_a_workflow_calls_the_makefile(path):
    targets = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.M))
    jobs = yaml.safe_load(path.read_text())["jobs"]
    steps = [step for job in jobs.values() for step in job["steps"]]
    called = [step["run"] for step in steps if "run" in step]
    assert called
    for command in called:
        make, target = command.split()[:2]
        assert make == "make" and target in targets, command


def test_the_workflows_test_what_is_promised():
    jobs = yaml.safe_load((ROOT / ".github/workflows/tests.yml").read_text())["jobs"]
    assert jobs["newest"]["strategy"]["matrix"]["python"] == ["3.11", "3.12", "3.13", "3.14"]
    called = {step.get("run") for job in jobs.values() for step in job["steps"]}
    assert called >= {"make test", "make oldest", "make wheel-test", "make docs"}


def test_hooks_use_the_tools_of_make_check():
    config = yaml.safe_load((ROOT / ".pre-commit-config.yaml").read_text())
    hooks = {hook["entry"] for repo in config["repos"] for hook in repo["hooks"]}
    recipe = re.search(r"^check:.*\n((?:\t.*\n)+)", (ROOT / "Makefile").read_text(), re.M)[1]
    tools = [
        line.split("/")[-1].removesuffix(" --check .").removesuffix(" .")
        for line in recipe.splitlines()
    ]
    for tool in tools:
        assert any(entry.startswith(f".venv/bin/{tool}") for entry in hooks), tool


def test_the_project_s_own_pages_are_the_only_addresses():
    """So no package index is named, either."""
    urls = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["urls"].values()
    own = {urlsplit(url).hostname for url in urls}
    for path in (*WORKFLOWS, ROOT / "Makefile", ROOT / "pyproject.toml", ROOT / "constraints.txt"):
        text = path.read_text()
        assert set(re.findall(r"https?://([\w.-]+)", text)) <= own, path
        assert not re.search("index.url", text), path
