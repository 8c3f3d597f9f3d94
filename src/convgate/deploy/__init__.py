"""Ship a network: verified exports, engines to run them, predictions."""

from convgate.deploy.engines import Engine, EngineConfig, open_engine
from convgate.deploy.export import Exported, calibration_images, export
from convgate.deploy.predict import Predictor, open_predictor, predict
from convgate.deploy.predictions import Prediction, Predictions
from convgate.deploy.runtimes import RUNTIMES

__all__ = [
    "RUNTIMES", "Engine", "EngineConfig", "Exported", "Prediction", "Predictions", "Predictor",
    "calibration_images", "export", "open_engine", "open_predictor", "predict",
]  # fmt: skip
