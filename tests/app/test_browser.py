"""The page in a real browser: narrow and wide, by keyboard alone, with a damaged picture."""

import shutil

import pytest

api = pytest.importorskip("playwright.sync_api")
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser")
pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(CHROMIUM is None, reason="needs the system's chromium"),
]


@pytest.fixture(scope="module")
def browser():
    with api.sync_playwright() as running:
        opened = running.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox"])
        yield opened
        opened.close()


@pytest.fixture(params=[390, 1280])
def page(request, browser, address):
    """Open the page at a width; no request may leave the server, and no script may fail."""
    context = browser.new_context(viewport={"width": request.param, "height": 900})
    opened = context.new_page()
    wrong = []
    opened.on("pageerror", lambda error: wrong.append(str(error)))
    opened.on(
        "request",
        lambda asked: (
            None if asked.url.startswith((address, "data:", "blob:")) else wrong.append(asked.url)
        ),
    )
    opened.goto(address)
    yield opened
    assert wrong == []
    wide = opened.evaluate("document.documentElement.scrollWidth")
    assert wide <= request.param  # nothing is scrolled sideways
    context.close()


def answered(page, text):
    api.expect(page.locator("#status")).to_contain_text(text, timeout=30_000)


def test_a_picture_is_answered_by_every_network(page, picture):
    page.locator("#file").set_input_files(picture)
    answered(page, "Answers for photo.png")
    assert page.locator("article li").count() == 3 * 5
    assert page.locator("article .answer > img").count() == 3
    page.get_by_text("scales of the gates").first.click()
    chart = page.locator("details img").first
    assert chart.evaluate("image => image.complete && image.naturalWidth > 0")


def test_a_damaged_picture_clears_the_answers_and_the_next_one_works(page, tmp_path):
    page.get_by_role("button", name="noise.png").click()
    answered(page, "Answers for noise.png")
    damaged = tmp_path / "broken.png"
    damaged.write_bytes(b"\x89PNG\r\n\x1a\n and nothing more")
    page.locator("#file").set_input_files(damaged)
    answered(page, "broken.png: this file: cannot be read as an image")
    assert page.locator("article li").count() == 0
    page.get_by_role("button", name="<b>.png").click()
    answered(page, "Answers for <b>.png")
    assert page.locator("b.png").count() == 0


def test_the_keyboard_alone_is_enough(page):
    reached = lambda: page.evaluate(  # noqa: E731
        "document.activeElement.getAttribute('aria-label') || document.activeElement.id"
        " || document.activeElement.name || document.activeElement.textContent.trim()"
        " || document.activeElement.firstElementChild?.alt"
    )
    page.keyboard.press("Tab")
    assert reached() == "file"
    page.keyboard.press("Tab")
    assert reached() == "noise.png"
    page.keyboard.press("Enter")
    answered(page, "Answers for noise.png")
    while reached() != "2":
        page.keyboard.press("Tab")
    page.keyboard.type("eca")
    while reached() != "Measure":
        page.keyboard.press("Tab")
    page.keyboard.press("Enter")
    api.expect(page.locator("#cost-status")).to_contain_text("2 = eca:", timeout=30_000)
    assert page.locator("#costs tbody tr").count() == 1
    assert page.locator("#recipe").text_content() == '[gate.stages]\n2 = "eca"'
    assert reached() == "Measure"  # the focus is not lost
