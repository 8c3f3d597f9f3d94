"""The parts of a run of detection or segmentation: its data and its network."""

from dataclasses import dataclass
from typing import Any

import torch
from timm.layers.norm_act import convert_sync_batchnorm
from torch import nn

from convgate.errors import InputError
from convgate.insert import SITES
from convgate.tasks.backbone import Backbone, create_backbone
from convgate.tasks.detect import create_detector
from convgate.tasks.task import Optimise, Task
from convgate.train.build import add_gate, images_per_pass, share_gate_statistics
from convgate.train.metrics import AveragePrecision
from convgate.train.modules import Detection, Segmentation
from convgate.train.recipe import DetectorSpec, GateSpec, Recipe
from convgate.train.scenes import Orders, SceneData, Wanted, open_scenes
from convgate.train.trainer import process
