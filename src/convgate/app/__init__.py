"""A page in the browser: networks side by side on a picture, and what gates in stages cost."""

from convgate.app.server import create_app, serve
from convgate.app.workbench import Workbench, open_workbench

__all__ = ["Workbench", "create_app", "open_workbench", "serve"]
