"""What one network says of one picture, in JSON types: text, and pictures as data addresses."""

import base64
import io
from typing import Any

from PIL import Image

from convgate.charts import chart_svg
from convgate.deploy.predict import classify
from convgate.errors import InputError
from convgate.networks import Network
from convgate.view.cam import compare_maps
from convgate.view.cam_picture import tile_url
from convgate.view.scales import choose_layers, draw_scales, find_gates, measure_scales


def answer(network: Network, image: Image.Image) -> dict[str, Any]:
    """Return the classes, a class activation map, and the scales of the gates.

    The map or the scales are None where there are none; what cannot be drawn has a sentence
    under "note".
    """
    guesses = classify(network, image).classes
    rows = [(guess.label, f"{guess.probability:.1%}") for guess in guesses]
    found = {"rows": rows, "map": None, "scales": _scales(network, image), "note": ""}
    try:
        ((_, (maps,)),) = compare_maps([network], [("", image)])
    except InputError as error:
        return found | {"note": str(error)}
    return found | {"map": tile_url(maps.pixels, maps.maps[0])}


def _scales(network: Network, image: Image.Image) -> str | None:
    """Return a chart of the scales of at most four gates; None for a network without gates."""
    if not find_gates(network.model):
        return None
    layers = choose_layers(measure_scales(network, [network.images.pixels(image)[None]]))
    return data_url(chart_svg(draw_scales(layers, network.label)).encode(), "image/svg+xml")


def data_url(content: bytes, kind: str) -> str:
    """Return an address that holds a file, for a page that loads nothing else."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"


def file_bytes(image: Image.Image, kind: str) -> bytes:
    """Return a picture as the bytes of a file of a kind that Pillow writes."""
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()
