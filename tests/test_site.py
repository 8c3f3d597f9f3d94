"""The documentation as a site: what is checked of it is found, and the real one has no fault."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT / "docs"))

import site_check  # noqa: E402
import site_publish  # noqa: E402


@pytest.fixture
def site(tmp_path):
    """A site of two pages without a fault."""
    (tmp_path / "built" / "a").mkdir(parents=True)
    (tmp_path / "built/index.html").write_text(
        '<link rel="stylesheet" href="s.css"><link rel="canonical" href="https://e.org/">'
        '<a href="a/#there">a</a><a href="https://e.org/paper">paper</a><a href="#__skip">b</a>'
        '<h1 id="__skip"></h1>'
    )
    (tmp_path / "built/a/index.html").write_text('<h1 id="there"><img src="../x.png"><a href="..">')
    (tmp_path / "built/s.css").write_text("b { background: url(data:image/png;base64,AA) }")
    (tmp_path / "built/x.png").write_bytes(b"x")
    return tmp_path / "built"


def test_a_good_site_has_no_problem(site):
    assert site_check.problems(site) == []


@pytest.mark.parametrize(
    ("written", "said"),
    [
        ('<img src="none.png">', "none.png leads nowhere"),
        ('<a href="b/">', "b/ leads nowhere"),
        ('<a href="a/#gone">', "a/#gone leads nowhere"),
        ('<a href="#gone">', "#gone leads nowhere"),
        ('<script src="https://e.org/x.js">', "loads https://e.org/x.js from another host"),
        ('<link rel="stylesheet" href="//e.org/x.css">', "loads //e.org/x.css from another host"),
        ('<link rel="preconnect" href="https://e.org">', "loads https://e.org from another host"),
        ('<img src="http://e.org/x.png">', "loads http://e.org/x.png from another host"),
    ],
)
def test_a_fault_of_a_page_is_found(site, written, said):
    with (site / "index.html").open("a") as page:
        page.write(written)
    assert site_check.problems(site) == [f"index.html: {said}"]


def test_a_fault_of_a_style_is_found(site):
    (site / "s.css").write_text("@import url('https://e.org/f.css')")
    assert site_check.problems(site) == ["s.css: loads https://e.org/f.css"]


def publish(site, version):
    return site_publish.main([str(site), str(site.parent / "out"), version])


def test_versions_are_listed_from_the_newest(site):
    out = site.parent / "out"
    for version in ("dev", "0.9", "0.10"):
        assert publish(site, version) == 0
    assert [entry["version"] for entry in json.loads((out / "versions.json").read_text())] == [
        "0.10",
        "0.9",
        "dev",
    ]
    assert "url=0.10/" in (out / "index.html").read_text()
    assert (out / "dev/a/index.html").is_file()


def test_nothing_is_published_with_a_fault_or_under_a_strange_name(site, capsys):
    assert publish(site, "../up") == 1
    assert "'../up' is no version" in capsys.readouterr().out
    (site / "x.png").unlink()
    assert publish(site, "dev") == 1
    assert "../x.png leads nowhere" in capsys.readouterr().out
    assert not (site.parent / "out").exists()


@pytest.mark.slow
def test_the_site_is_built_without_a_warning_and_has_no_fault(tmp_path):
    pytest.importorskip("zensical")
    config = (ROOT / "zensical.toml").read_text()
    assert 'site_dir = "build/docs"' in config
    here = tmp_path / "zensical.toml"
    here.write_text(config)
    shutil.copytree(ROOT / "docs", tmp_path / "docs")  # a link would lead out of the project
    (tmp_path / "src").symlink_to(ROOT / "src")
    command = [sys.executable, "-m", "zensical", "build", "--strict", "--clean"]
    ran = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, timeout=280)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    built = tmp_path / "build/docs"
    assert site_check.problems(built) == []
    pages = {str(path.relative_to(ROOT / "docs")) for path in (ROOT / "docs").rglob("*.md")}
    assert len(list(built.rglob("*.html"))) >= len(pages - {"SUMMARY.md"})
    assert "convgate.insertion.surgery.insert" in (built / "api/insertion/index.html").read_text()
