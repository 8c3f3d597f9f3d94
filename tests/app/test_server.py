"""The page over HTTP: what it serves, what it refuses, and many users at once."""

import io
import json
import re
from concurrent.futures import ThreadPoolExecutor
from urllib.error import HTTPError
from urllib.request import Request, urlopen

import pytest

from convgate.app.server import MAX_BYTES, STATIC

OWN = {"X-Convgate": "1"}


def ask(url, data=None, headers=OWN):
    """Return the status, the headers and the body of an answer."""
    try:
        with urlopen(Request(url, data=data, headers=headers)) as found:
            return found.status, found.headers, found.read()
    except HTTPError as error:
        return error.code, error.headers, error.read()


@pytest.fixture
def file(noise):
    held = io.BytesIO()
    noise.save(held, "PNG")
    return held.getvalue()


def test_the_page_asks_no_other_host(address):
    for name in ("", *STATIC):
        status, headers, body = ask(f"{address}/{name}")
        assert status == 200
        assert headers["content-security-policy"].startswith("default-src 'none'")
        assert not re.search(rb"https?://|//[a-z]+\.", body)


def test_names_are_text(address):
    """An example is called <b>.png."""
    page = ask(address)[2].decode()
    assert 'alt="&lt;b&gt;.png"' in page and "<b>.png" not in page


def test_an_upload_and_an_example_give_answers(address, file, bench, noise):
    expected = json.loads(json.dumps(bench.see(noise)))
    assert json.loads(ask(f"{address}/see", file)[2]) == expected
    assert json.loads(ask(f"{address}/see?example=0", b"")[2]) == expected
    status, headers, _ = ask(f"{address}/examples/1")
    assert (status, headers["content-type"]) == (200, "image/jpeg")


def test_costs_are_answered(address):
    found = json.loads(ask(f"{address}/cost", b'{"2": "eca"}')[2])
    assert (found["gates"], found["params"]) == ("2 = eca", "+3")


@pytest.mark.parametrize(
    ("path", "body", "status", "sentence"),
    [
        ("see", b"no picture", 400, "cannot be read as an image"),
        ("see", bytes(MAX_BYTES + 1), 413, "send a smaller picture"),
        ("see?example=7", b"", 400, "no such example"),
        ("see?example=-1", b"", 400, "no such example"),
        ("cost", b"[[[", 400, "expected stages"),
        ("cost", b'["se"]', 400, "expected stages"),
        ("cost", b"[" * 9000, 400, "expected stages"),
        ("cost", b'{"2": "see"}', 400, "did you mean 'se'?"),
        ("examples/9", None, 404, "no such example"),
        ("page.html.jinja", None, 404, "no such page"),
        ("..%2f__init__.py", None, 404, ""),
    ],
)
def test_what_is_wrong_gets_a_sentence(address, path, body, status, sentence):
    code, _, answer = ask(f"{address}/{path}", body)
    assert code == status
    assert sentence in answer.decode()


def test_other_sites_can_ask_nothing(address, file):
    """Their pages cannot send the header, nor reach the server by a name of their own."""
    assert ask(f"{address}/see", file, headers={})[0] == 403
    assert ask(f"{address}/cost", b"{}", headers={})[0] == 403
    assert ask(address, headers={"Host": "evil.example"})[0] == 400


def test_ten_users_at_once_get_what_one_gets(address, file):
    alone = ask(f"{address}/see", file)[2]
    with ThreadPoolExecutor(10) as users:
        found = list(users.map(lambda _: ask(f"{address}/see", file), range(10)))
    assert [status for status, _, _ in found] == [200] * 10
    assert {body for _, _, body in found} == {alone}
