"""Ship a network: the hub layout, verified exports, engines to run them, predictions."""

from convgate.deploy.accuracy import calibration_images, open_labelled, top1
from convgate.deploy.engines import Engine, EngineConfig, open_engine
from convgate.deploy.export import Exported, export
from convgate.deploy.predict import Classifier, Prediction, open_classifier, predict
from convgate.deploy.runtimes import RUNTIMES
from convgate.networks.card import About, read_about
from convgate.networks.hub import load_hub, save_hub
from convgate.networks.opening import Source, open_source
from convgate.networks.preprocessing import ImageSpec

__all__ = [
    "RUNTIMES",
    "About",
    "Classifier",
    "Engine",
    "EngineConfig",
    "Exported",
    "ImageSpec",
    "Prediction",
    "Source",
    "calibration_images",
    "export",
    "load_hub",
    "open_classifier",
    "open_engine",
    "open_labelled",
    "open_source",
    "predict",
    "read_about",
    "save_hub",
    "top1",
]
