"""Ship a network: the hub layout, verified exports, engines to run them, predictions."""

from convgate.deploy.about import About, read_about
from convgate.deploy.hub import load_hub, save_hub
from convgate.deploy.images import ImageSpec
from convgate.deploy.source import Source, open_source

__all__ = [
    "About",
    "ImageSpec",
    "Source",
    "load_hub",
    "open_source",
    "read_about",
    "save_hub",
]
