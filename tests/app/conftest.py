"""A small network that has learned, and the page around it as a browser reaches it."""

import threading
import time
from collections.abc import Iterator

import pytest
import torch
from PIL import Image

from convgate.app import create_app, open_workbench
from convgate.networks import save_network

uvicorn = pytest.importorskip("uvicorn")


@pytest.fixture(scope="session")
def weights(small, tmp_path_factory):
    """Return the file of a ResNet-8 for six classes that says it has learned."""
    card, model = small()
    path = tmp_path_factory.mktemp("app") / "net.safetensors"
    save_network(path, model.state_dict(), card)
    return path


@pytest.fixture(scope="session")
def noise():
    """Return a photograph of coloured noise."""
    pixels = torch.randint(0, 256, (40, 48, 3), generator=torch.Generator().manual_seed(0))
    return Image.fromarray(pixels.byte().numpy())


@pytest.fixture(scope="session")
def bench(weights, noise):
    examples = [("noise.png", noise), ("<b>.png", noise.rotate(90))]
    return open_workbench([str(weights)], gate="eca", examples=examples, seconds=0.05)


@pytest.fixture(scope="session")
def address(bench) -> Iterator[str]:
    """Serve the page on a free port of loopback."""
    config = uvicorn.Config(create_app(bench), port=0, log_level="error")
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    while not server.started:
        time.sleep(0.01)
        assert thread.is_alive()
    (socket,) = server.servers[0].sockets
    yield f"http://127.0.0.1:{socket.getsockname()[1]}"
    server.should_exit = True
    thread.join()
