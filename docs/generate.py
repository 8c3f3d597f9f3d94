"""Write the pages that come from the code; with --check, name the stale ones and exit with 1."""

import sys
from pathlib import Path

DOCS = Path(__file__).parent
sys.path.insert(0, str(DOCS))

from api_pages import api_pages  # noqa: E402
from gate_pages import gate_pages  # noqa: E402
from layout_pages import layout_pages  # noqa: E402
from paper_pages import paper_pages  # noqa: E402
from recipe_pages import recipe_pages  # noqa: E402
from verb_pages import verb_pages  # noqa: E402


def main(arguments: list[str], docs: Path = DOCS) -> int:
    """Write or check the pages under ``docs``; return the exit code."""
    texts = gate_pages() | verb_pages(docs) | paper_pages(docs) | recipe_pages()
    texts |= layout_pages(docs) | api_pages()
    pages = {docs / path: text for path, text in texts.items()}
    stale = [p for p, text in pages.items() if not p.is_file() or p.read_text() != text]
    extra = [p for folder in ("api", "gates", "verbs") for p in docs.glob(f"{folder}/*.md")]
    extra = sorted(p for p in extra if p not in pages)
    if "--check" in arguments:
        print("\n".join(f"stale: {p}" for p in stale + extra) or "all pages are up to date")
        return 1 if stale or extra else 0
    for page in stale:
        page.parent.mkdir(parents=True, exist_ok=True)
        page.write_text(pages[page])
    for page in extra:
        page.unlink()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
