"""What a built site must hold: no file from another host, no link or picture that leads nowhere."""

import re
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

LOADS = {"script": "src", "img": "src", "source": "src", "iframe": "src", "link": "href"}
NAMED_ONLY = ("canonical", "next", "prev", "alternate")  # relations of <link> that load nothing
IN_STYLES = re.compile(r"url\(\s*['\"]?([^'\")]+)")


class Page(HTMLParser):
    """What one page loads, where it leads, and the anchors it has."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.leads: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        """Note one element."""
        found = {key: value or "" for key, value in attrs}
        self.anchors |= {found[key] for key in ("id", "name") if key in found}
        if tag == "a" and "href" in found:
            self.leads.append(found["href"])
        named_only = tag == "link" and found.get("rel") in NAMED_ONLY
        if LOADS.get(tag) in found and not named_only:
            self.loads.append(found[LOADS[tag]])


def problems(site: Path) -> list[str]:
    """Return a sentence for each fault of a built site; the page of errors is not asked."""
    pages = {path: Page(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    found = []
    for path, page in pages.items():
        shown = path.relative_to(site)
        if shown.name == "404.html":  # shown at any address, so that its links start at the root
            continue
        found += [f"{shown}: loads {url} from another host" for url in page.loads if foreign(url)]
        for url in [*page.loads, *page.leads]:
            if not foreign(url) and not leads_somewhere(path, url, pages):
                found.append(f"{shown}: {url} leads nowhere")
    for style in site.rglob("*.css"):
        urls = IN_STYLES.findall(style.read_text(encoding="utf-8"))
        found += [f"{style.relative_to(site)}: loads {url}" for url in urls if foreign(url)]
    return found


def foreign(url: str) -> bool:
    """Return whether an address is on another host."""
    parts = urlsplit(url)
    return bool(parts.netloc) or parts.scheme in ("http", "https")


def leads_somewhere(page: Path, url: str, pages: dict[Path, Page]) -> bool:
    """Return whether an address of this site is a file, and its fragment an anchor in it."""
    parts = urlsplit(url)
    if parts.scheme in ("data", "mailto", "javascript"):
        return True
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    target = target / "index.html" if target.is_dir() else target
    anchored = not parts.fragment or target not in pages
    return target.is_file() and (anchored or unquote(parts.fragment) in pages[target].anchors)
