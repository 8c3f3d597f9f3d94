"""What pages of HTML are made of: templates, and pictures that a page holds itself."""

import base64
import io
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined, Template

if TYPE_CHECKING:
    from PIL import Image


def page_template(package: str, name: str) -> Template:
    """Return a template of a package; what is filled in is escaped, unless it is ``Markup``."""
    pages = Environment(
        loader=PackageLoader(package, "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return pages.get_template(name)


def file_bytes(image: "Image.Image", kind: str) -> bytes:
    """Return a picture as the bytes of a file of a kind that Pillow writes."""
    file = io.BytesIO()
    image.save(file, kind)
    return file.getvalue()


def data_url(content: bytes, kind: str) -> str:
    """Return the address that holds a file of a kind such as "image/png"."""
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
