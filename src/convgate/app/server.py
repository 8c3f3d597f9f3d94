"""The page's server: loopback by default, one picture or one cost a request, nothing stored.

Pages of other sites can ask nothing of it: questions carry a header that a browser sends to
another host only when that host allows it, which this one never does. The page asks no other host.
"""

import json
from collections.abc import Callable
from importlib.resources import files
from ipaddress import ip_address
from typing import Any

import uvicorn
from starlette.applications import Starlette
from starlette.concurrency import run_in_threadpool
from starlette.middleware import Middleware
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, JSONResponse, Response
from starlette.routing import Route

from convgate.app.workbench import Workbench, described
from convgate.errors import InputError
from convgate.gates import list_gates
from convgate.pages import page_template

MAX_BYTES = 20_000_000
"""Of an uploaded picture."""
MAX_WAITING = 32
"""Requests that may wait for their turn; more are told to come again."""
HEADER = "x-convgate"
STATIC = {"page.js": "text/javascript", "page.css": "text/css"}
POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data: blob:; "
    "connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LOCAL = ["localhost", "127.0.0.1", "[::1]"]


class Refused(Exception):
    """A request that is answered by one sentence."""

    def __init__(self, status: int, sentence: str) -> None:
        super().__init__(sentence)
        self.status = status


def create_app(bench: Workbench, *, hosts: list[str] | None = None) -> Starlette:
    """Return the page as an ASGI application.

    Args:
        bench: What it shows.
        hosts: Names by which it may be called; those of this machine by default, which keeps
            out pages whose name was pointed at it.
    """
    served = _Page(bench)
    return Starlette(
        routes=[
            Route("/", served.page),
            Route("/see", served.see, methods=["POST"]),
            Route("/cost", served.cost, methods=["POST"]),
            Route("/examples/{index:int}", served.example),
            Route("/{name}", served.static),
        ],
        middleware=[Middleware(TrustedHostMiddleware, allowed_hosts=hosts or LOCAL)],
        exception_handlers={Refused: _refused, InputError: _mended_by_caller},
    )


def serve(bench: Workbench, host: str = "127.0.0.1", port: int = 7860) -> None:
    """Serve the page until Ctrl-C. Beyond loopback it answers to every name."""
    hosts = None if _is_loopback(host) else ["*"]
    uvicorn.run(create_app(bench, hosts=hosts), host=host, port=port, log_level="warning")


def _is_loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Page:
    def __init__(self, bench: Workbench) -> None:
        self.bench = bench
        self.waiting = 0
        self.text = _render(bench)

    async def page(self, request: Request) -> Response:
        return HTMLResponse(self.text, headers=_safe())

    async def static(self, request: Request) -> Response:
        name = request.path_params["name"]
        if name not in STATIC:
            raise Refused(404, "there is no such page")
        content = files("convgate.app").joinpath(name).read_bytes()
        return Response(content, media_type=STATIC[name], headers=_safe())

    async def example(self, request: Request) -> Response:
        index = request.path_params["index"]
        if index >= len(self.bench.examples):
            raise Refused(404, "there is no such example")
        return Response(self.bench.thumbnail(index), media_type="image/jpeg", headers=_safe())

    async def see(self, request: Request) -> Response:
        """Answer a picture: the bytes of its file, or the number of an example in the query."""
        _check_own(request)
        number = request.query_params.get("example", "")
        if number:
            if not number.isdecimal() or int(number) >= len(self.bench.examples):
                raise Refused(400, "there is no such example")
            image = self.bench.examples[int(number)][1]
            return await self._in_turn(lambda: self.bench.see(image))
        data = await _body(request, MAX_BYTES)
        return await self._in_turn(lambda: self.bench.see_file(data))

    async def cost(self, request: Request) -> Response:
        """Answer gates by stage, as in {"2": "se", "3": "eca"}."""
        _check_own(request)
        gates = _stages(await _body(request, 10_000))
        return await self._in_turn(lambda: self.bench.cost(gates))

    async def _in_turn(self, work: Callable[[], Any]) -> Response:
        if self.waiting >= MAX_WAITING:
            raise Refused(503, "too many are waiting; try again in a moment")
        self.waiting += 1
        try:
            return JSONResponse(await run_in_threadpool(work), headers=_safe())
        finally:
            self.waiting -= 1


def _render(bench: Workbench) -> str:
    rows = [bench.latency.row(network.label) for network in bench.networks]
    return page_template("convgate.app", "page.html.jinja").render(
        columns=[
            {"label": network.label, "latency": described(row), "weights": network.card.weights}
            for network, row in zip(bench.networks, rows, strict=True)
        ],
        how=_how(bench),
        warnings=[*bench.left_out, *bench.latency.warnings],
        examples=[name for name, _ in bench.examples],
        blocks=bench.blocks,
        gates=list_gates(),
    )


def _how(bench: Workbench) -> str:
    facts = bench.latency.environment
    engine = facts.get("engine", "eager torch")
    size = " x ".join(map(str, bench.latency.input_shape))
    return (
        f"Latency: median of {bench.latency.rounds} interleaved rounds and 95 % interval of the "
        f"ratio to the first network, input {size}, {engine} in {facts['dtype']} on "
        f"{facts.get('cpu') or facts['device']}, {facts['threads']} threads."
    )


def _safe() -> dict[str, str]:
    return {
        "content-security-policy": POLICY,
        "x-content-type-options": "nosniff",
        "referrer-policy": "no-referrer",
        "cache-control": "no-store",
    }


def _check_own(request: Request) -> None:
    if HEADER not in request.headers:
        raise Refused(403, "only the page itself may ask this")


async def _body(request: Request, limit: int) -> bytes:
    """Read a body, and stop where it is longer than the limit, whatever its header says."""
    data = bytearray()
    async for part in request.stream():
        data += part
        if len(data) > limit:
            raise Refused(413, f"more than {limit:,} bytes; send a smaller picture")
    return bytes(data)


def _stages(body: bytes) -> dict[int, str]:
    try:
        given = json.loads(body)
        return {int(stage): str(gate) for stage, gate in given.items()}
    except (ValueError, AttributeError, RecursionError):
        raise Refused(400, 'expected stages and their gates, as in {"2": "se"}') from None


async def _refused(request: Request, error: Exception) -> Response:
    assert isinstance(error, Refused)
    return JSONResponse({"error": str(error)}, status_code=error.status, headers=_safe())


async def _mended_by_caller(request: Request, error: Exception) -> Response:
    return JSONResponse({"error": str(error)}, status_code=400, headers=_safe())
